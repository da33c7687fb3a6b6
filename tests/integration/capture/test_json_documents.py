"""JSON documents that no body holds as they are: odd numbers, names and members of our own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Column, Engine, Integer, MetaData, Table, insert, text

from auditspan.reading.replay import Agreement
from integration.capture.application import Application, make_application
from integration.library.world import sqlite_engine_at

SECRET = "planted-s3cret"
LONG = "y" * 20_000

DOCUMENTS = {
    "duplicate, the last one empty": f'{{"password": "{SECRET}", "password": null}}',
    "duplicate, the first one empty": f'{{"password": null, "password": "{SECRET}"}}',
    "duplicate around a secret": f'{{"a": [{{"token": "{SECRET}", "n": 0.1}}], "a": 1}}',
    "beside a fraction": f'{{"password": "{SECRET}", "ratio": 1.50}}',
    "beside a number beyond doubles": f'{{"a": {{"token": "{SECRET}"}}, "x": 1e400}}',
    "a fraction in the secret": f'{{"token": {{"deep": "{SECRET}", "f": 1.0}}}}',
    "long": f'{{"password": "{SECRET}", "big": "{LONG}"}}',
    "long, beside a fraction": f'{{"password": "{SECRET}", "ratio": 0.5, "big": "{LONG}"}}',
    "password hash": f'["$2b$12$R9h/cIPz0gi{SECRET}", 1.5]',
    "member of our own": '{"a": {"$json": "not JSON"}}',
    "member of our own, at the top": '{"$json": "not JSON"}',
    "digest of another program": '{"a": {"$len": "abc", "$sha256": 1}}',
    "deep": "[" * 200 + "0.5" + "]" * 200,
}


@pytest.fixture
def application(engine: Engine) -> Application:
    """A table of documents under a trail."""
    return make_application(engine, tables())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_is_recorded_without_its_secrets(application: Application, name: str) -> None:
    """Its record, and that of a change beside it, agree with the table."""
    insertion = text("INSERT INTO doc (id, data) VALUES (1, CAST(:data AS json))")
    if application.engine.dialect.name == "sqlite":
        insertion = text("INSERT INTO doc (id, data) VALUES (1, :data)")
    with application.unit_of_work() as session:
        session.execute(insertion, {"data": DOCUMENTS[name]})
    with application.unit_of_work() as session:
        session.execute(text("UPDATE doc SET n = 2"))
    assert ["doc.create", "doc.update"] == [action for action, *_ in application.told()]
    assert SECRET not in json.dumps(application.events())
    application.check()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"password": float("nan")}])
def test_constant_that_python_writes_into_sqlite_is_recorded(tmp_path: Path, value: Any) -> None:
    """Python's JSON has NaN and infinities, and SQLite stores any text."""
    application = make_application(sqlite_engine_at(tmp_path / "x.db"), tables())
    write(application, value)
    assert 1 == len(application.events())
    application.check()


def test_changed_secret_in_a_long_document_is_found(application: Application) -> None:
    """The digest of the record covers the fingerprint of the secret."""
    write(application, {"password": SECRET, "big": LONG})
    application.check()
    change_behind_the_trail(application, {"password": "other", "big": LONG})
    with pytest.raises(AssertionError):
        application.check()


@pytest.mark.parametrize(
    "document",
    [
        {"$redacted": True},
        {"a": {"$redacted": False}},
        {"$len": 1, "$sha256": "q"},
        {"a": {"$len": "x", "$sha256": 1}},
        {"a": {"$len": 1, "$sha256": "q"}},
        {"a": [{"$erased": True}, {"$erasable": True}], "ratio": 0.5},
    ],
)
def test_members_like_stand_ins_are_read_as_they_were_stored(
    application: Application, document: Any
) -> None:
    """Only what a record has in place of a value is a stand-in for it."""
    write(application, document)
    table = application.metadata.tables["doc"]
    with application.sessions() as session:
        state = application.trail.as_of(session, table, 1, datetime.now(UTC))
    assert state is not None
    assert document == state.values["data"]
    application.check()


@pytest.mark.parametrize(
    "rest",
    [{}, *(pytest.param(one, marks=pytest.mark.slow) for one in ({"ratio": 1.5}, {"$json": "1"}))],
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("kim", {"$erased": True}),
        ("kim", {"$erasable": True}),
        ("kim", {"$redacted": True}),
        ("kim", {"$redacted": True, "$fingerprint": "f", "$key": "k"}),
        ("kim", {"$len": 3, "$sha256": sha256(b"kim").hexdigest()}),
        ([1, "kim"], [1, {"$erased": True}]),
        ({"$erased": True}, "kim"),
        ({"$redacted": 1}, {"$redacted": 2}),
        ({"password": SECRET}, {"password": "other"}),
        ({"password": SECRET}, {"password": {"$redacted": True}}),
    ],
)
def test_member_changed_behind_the_trail_is_found_whatever_it_looks_like(
    application: Application, before: Any, after: Any, rest: Any
) -> None:
    """Nothing in a live document is a stand-in, and secret members are compared by fingerprint."""
    write(application, {"owner": before, **rest})
    application.check()
    change_behind_the_trail(application, {"owner": after, **rest})
    with pytest.raises(AssertionError):
        application.check()


def change_behind_the_trail(application: Application, document: Any) -> None:
    """Replace the document without an audit row."""
    with application.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        driver: Any = connection.connection
        driver.cursor().execute(f"UPDATE doc SET data = '{json.dumps(document)}'")  # noqa: S608
        driver.cursor().execute("DELETE FROM audit_change")
        driver.commit()


def write(application: Application, document: Any) -> None:
    """Insert one document."""
    with application.unit_of_work() as session:
        session.execute(insert(application.metadata.tables["doc"]).values(id=1, data=document))


def tables() -> MetaData:
    """A table of documents."""
    metadata = MetaData()
    columns = Column("id", Integer, primary_key=True), Column("data", JSON), Column("n", Integer)
    Table("doc", metadata, *columns, info={"audit": True})
    return metadata


def test_forged_document_differs_and_raises_nothing() -> None:
    """A tampered body may have anything in place of a document."""
    assert not Agreement(keys={}).holds("data", {"$json": "[1,"}, {"$json": "[1]"})
