"""Searches are answered by a streaming replica while there is one, and always answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from auditspan.errors import SettingsError
from auditspan_service.config import load_settings
from auditspan_service.database.engine import make_engine
from auditspan_service.database.replica import (
    CONNECT_SECONDS,
    PING_SECONDS,
    RETRY_SECONDS,
    Replica,
    make_impatient,
)
from auditspan_service.database.schema import upgrade
from support.cluster import Cluster
from support.patience import PATIENCE, promised
from support.running import auditspan
from support.service import Caller, RunningService, running_service, settings_at
from support.standby import Standby

LOGGER = "auditspan_service.database.replica"


@dataclass(frozen=True, kw_only=True)
class World:
    """A service on a primary and its replica."""

    service: RunningService
    standby: Standby

    @property
    def replica(self) -> Replica:
        """What the service knows of it."""
        replica = self.service.services.database.replica
        assert replica is not None
        return replica

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a command."""
        settings = self.service.services.settings
        return {
            "AUDITSPAN_DATABASE_URL": settings.database_url,
            "AUDITSPAN_READ_DATABASE_URL": str(settings.read_database_url),
        }


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Cluster, Standby]]:
    """A primary and a standby, both real."""
    primary = Cluster.make()
    try:
        standby = Standby.make(primary)
        try:
            yield primary, standby
        finally:
            standby.destroy()
    finally:
        primary.destroy()


@pytest.fixture
def world(
    servers: tuple[Cluster, Standby], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A service with a database of its own, which the replica has."""
    monkeypatch.setattr("auditspan_service.database.replica.RETRY_SECONDS", 0.2)
    # A replica that is slow for a moment is not to look like one that is gone.
    monkeypatch.setattr("auditspan_service.database.replica.CONNECT_SECONDS", 30)
    monkeypatch.setattr("auditspan_service.database.replica.PING_SECONDS", 30.0)
    monkeypatch.setattr("auditspan_service.database.replica._ImpatientConnection.patience", 30.0)
    primary, standby = servers
    with primary.database() as url:
        engine = make_engine(url)
        upgrade(engine)
        engine.dispose()
        eventually(standby.is_caught_up)
        name = str(make_url(url).database)
        settings = settings_at(tmp_path, url, read_database_url=standby.url(name))
        with running_service(settings) as service:
            yield World(service=service, standby=standby)


@pytest.fixture
def caller(world: World) -> Caller:
    """Somebody who may do everything."""
    return world.service.caller()


def eventually(claim: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.02)


def created(caller: Caller, name: str) -> str:
    """The id of the event of a new user."""
    caller.create(username=name)
    newest = text("SELECT event_id FROM audit_event ORDER BY id DESC LIMIT 1")
    with caller.app.extensions["auditspan_service"].database.reading() as session:
        return str(session.scalar(newest))


def usernames(caller: Caller) -> list[str]:
    """Which users a search knows to be made, newest first."""
    return [
        event["changes"]["username"]["new"]
        for event in caller.events(action="user.create")
        if event["actor"]["type"] == "user"
    ]


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """What was logged about the replica, up to the reason."""
    return [
        (r.levelno, r.getMessage().partition(" (")[0]) for r in caplog.records if r.name == LOGGER
    ]


GONE = (logging.WARNING, "the read replica does not answer")
BACK = (logging.INFO, "the read replica answers again")


def test_searches_are_answered_by_the_replica(world: World, caller: Caller) -> None:
    """While it replays nothing, searches do not see what was written since; the primary has it."""
    created(caller, "early")
    eventually(world.standby.is_caught_up)
    world.standby.pause()
    try:
        event_id = created(caller, "late")
        assert ["early"] == usernames(caller)
        assert 200 == caller("GET", f"/v1/audit-events/{event_id}").status_code
        assert ["late", "early", "tester"] == [
            user["username"] for user in caller("GET", "/v1/users").get_json()["items"]
        ][::-1]
        assert 0 == auditspan("show", event_id, **world.environ).returncode
        listed = auditspan("events", "--action", "user.create", "--json", **world.environ)
        assert (0, 2) == (listed.returncode, listed.stdout.count('"event_id"')), listed.stderr
    finally:
        world.standby.resume()
    eventually(lambda: usernames(caller) == ["late", "early"])


def test_its_queries_have_spans(world: World, caller: Caller) -> None:
    """A search that the replica answers is as visible as one of the primary."""
    world.service.forget_spans()
    caller.events()
    names = [span.name for span in world.service.spans()]
    # The key, the events, their disclosures.
    assert 3 == sum(name.startswith("SELECT") for name in names), names


def test_a_replica_that_crashes(
    world: World, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    """The primary answers, with one warning; when it is back it is asked again."""
    caplog.set_level(logging.INFO)
    created(caller, "one")
    eventually(lambda: usernames(caller) == ["one"])
    world.standby.crash()
    try:
        for number in range(5):
            created(caller, f"during-{number}")
            assert f"during-{number}" == usernames(caller)[0]
            time.sleep(0.1)
        assert [GONE] == said(caplog)
        listed = auditspan("events", "--limit", "1", "--json", **world.environ)
        assert (0, 1) == (listed.returncode, listed.stdout.count('"event_id"')), listed.stderr
        assert 1 == listed.stderr.count("the read replica does not answer")
    finally:
        world.standby.start()
    eventually(lambda: bool(usernames(caller)) and said(caplog) != [GONE])
    assert [GONE, BACK] == said(caplog)
    eventually(world.standby.is_caught_up)
    world.standby.pause()
    try:
        created(caller, "unseen")
        assert "during-4" == usernames(caller)[0]
    finally:
        world.standby.resume()


def test_a_replica_that_hangs(
    world: World,
    caller: Caller,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that says nothing and closes nothing costs one request some seconds."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("auditspan_service.database.replica.CONNECT_SECONDS", CONNECT_SECONDS)
    monkeypatch.setattr("auditspan_service.database.replica.PING_SECONDS", PING_SECONDS)
    usernames(caller)
    world.standby.hang()
    try:
        created(caller, "patient")
        began = time.monotonic()
        assert ["patient"] == usernames(caller)
        first = time.monotonic() - began
        world.replica._retry_at = time.monotonic() + 60  # noqa: SLF001 (no second try meanwhile)
        began = time.monotonic()
        assert ["patient"] == usernames(caller)
        later = time.monotonic() - began
    finally:
        world.standby.go_on()
    assert [GONE] == said(caplog)
    assert first < promised(12)
    assert later < promised(2)


def test_refused_statement_is_not_an_outage(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The primary answers that one, without a word, and the next goes to the replica again."""
    cancelled = text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
    assert world.replica.ask(lambda connection: connection.execute(cancelled)) is None
    answer = world.replica.ask(lambda connection: connection.scalar(text("SELECT 1")))
    assert answer is not None
    assert 1 == answer.value
    assert [] == said(caplog)


def test_a_replica_without_our_tables(
    world: World, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    """A URL that leads to some other database costs one warning, and no request."""
    engine = make_impatient(make_engine(world.standby.url("postgres")))
    world.replica.engine.dispose()
    world.replica.engine = engine
    created(caller, "anyone")
    assert ["anyone"] == usernames(caller)
    assert [GONE] == said(caplog)


def test_nothing_is_ever_written_there(world: World) -> None:
    """The connections are read-only by themselves, also when the replica has been promoted."""
    primary = world.service.services.settings.database_url
    replica = Replica(engine=make_impatient(make_engine(primary)))
    write = text("DELETE FROM alembic_version")
    try:
        assert replica.ask(lambda connection: connection.execute(write)) is None
    finally:
        replica.dispose()
    with world.service.services.database.reading() as session:
        assert 1 == session.scalar(text("SELECT count(*) FROM alembic_version"))


@pytest.mark.parametrize(
    ("primary", "read"),
    [
        ("postgresql://app@db/auditspan", "sqlite:////tmp/copy.db"),
        ("sqlite:////tmp/auditspan.db", "postgresql://app:hunter2@replica/auditspan"),
    ],
)
def test_a_replica_of_another_kind_is_refused(primary: str, read: str) -> None:
    """Only PostgreSQL streams, and only to PostgreSQL; the sentence shows no URL."""
    with pytest.raises(SettingsError, match="AUDITSPAN_READ_DATABASE_URL is invalid") as caught:
        load_settings(database_url=primary, read_database_url=read)
    assert "hunter2" not in str(caught.value)


def test_the_password_is_not_shown() -> None:
    """Neither the settings nor a warning have it."""
    url = "postgresql://app:hunter2@127.0.0.1:1/auditspan"
    settings = load_settings(database_url=url, read_database_url=url)
    assert "hunter2" not in repr(settings)
    assert 5.0 == RETRY_SECONDS
    assert "127.0.0.1" == make_url(settings.read_database_url or "").host
