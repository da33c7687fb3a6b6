"""The worker inside the application: `trail.worker()` and `AuditExtension(worker=True)`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine

from auditspan import Actor, AuditTrail, KeyFileError, audit_context
from auditspan.flask import AuditExtension
from support.bare_trail import bare_trail
from support.collector import bodies
from support.patience import PATIENCE
from support.relaying import wait_for


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory; records are written to files under it."""
    monkeypatch.setenv("AUDITSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AUDITSPAN_SINK", "file")
    return tmp_path / "data"


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    is_file = request.param == "sqlite"
    url = (
        f"sqlite:///{tmp_path / 'shop.db'}" if is_file else request.getfixturevalue("postgres_url")
    )
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def trail(engine: Engine) -> AuditTrail:
    """A trail without models."""
    return bare_trail(engine)


def record(trail: AuditTrail) -> str:
    """Record one event."""
    with audit_context(actor=Actor.system("test")):
        return trail.record_durable("shop.opened")


def is_delivered(data: Path, event_id: str) -> bool:
    """Return whether the event is in the files of the sink."""
    return any(event_id in body for body in bodies(data / "collector" / "audit" / "audit.jsonl"))


def workers() -> list[threading.Thread]:
    """Return the threads of workers in this process."""
    return [one for one in threading.enumerate() if one.name.startswith("auditspan-")]


def test_block_seals_and_delivers(
    trail: AuditTrail, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows from before and inside the block are delivered; at its end the threads have ended."""
    monkeypatch.setenv("AUDITSPAN_ENV", "development")
    earlier = record(trail)
    with trail.worker() as worker:
        assert {True} == {thread.daemon for thread in workers()}
        ids = [earlier, record(trail)]
        wait_for(lambda: all(is_delivered(data, one) for one in ids))
        assert worker.drain(PATIENCE)
    assert [] == workers()
    with trail.worker():  # restarting resumes
        later = record(trail)
        wait_for(lambda: is_delivered(data, later))


def test_missing_signing_key_is_refused_in_production(
    trail: AuditTrail, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With PostgreSQL that is the default; the message names the command."""
    if engine.dialect.name == "sqlite":
        monkeypatch.setenv("AUDITSPAN_ENV", "production")
    with pytest.raises(KeyFileError, match="auditspan checkpoint --init"), trail.worker():
        pass
    assert [] == workers()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_extension_runs_the_worker_from_the_first_request(trail: AuditTrail, data: Path) -> None:
    """One worker per process, however many requests; `close` stops it in order."""
    app = Flask(__name__)
    extension = AuditExtension(trail, worker=True)
    extension.init_app(app)
    app.config["AUDITSPAN_COLLECTOR_FILES"] = data / "own"

    @app.post("/")
    def opened() -> str:
        return trail.record_durable("shop.opened")

    assert [] == workers()
    try:
        ids = [app.test_client().post("/").text for _ in range(2)]
        names = [thread.name for thread in workers()]
        assert sorted(set(names)) == sorted(names)
        files = data / "own" / "audit" / "audit.jsonl"
        wait_for(
            lambda: set(ids) <= {body.split('"event_id":"')[-1][:36] for body in bodies(files)}
        )
    finally:
        extension.close()
    assert [] == workers()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_extension_starts_the_worker_with_a_later_request_if_the_first_failed(
    trail: AuditTrail, data: Path
) -> None:
    """A damaged key is an error of each request until it is repaired, and not only of the first."""
    app = Flask(__name__)
    app.testing = True
    extension = AuditExtension(trail, worker=True)
    extension.init_app(app)
    app.add_url_rule("/", view_func=lambda: "ok")
    key = data / "keys" / "signing.key"
    key.parent.mkdir(parents=True)
    key.write_text("damaged\n")
    for _ in range(2):
        with pytest.raises(KeyFileError):
            app.test_client().get("/")
    assert [] == workers()
    key.unlink()
    try:
        assert "ok" == app.test_client().get("/").text
        assert workers()
    finally:
        extension.close()
