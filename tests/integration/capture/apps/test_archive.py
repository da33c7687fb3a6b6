"""Thirty revisions run the same with and without a trail, and the archive works behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from auditspan import Actor, AuditTrail, audit_context
from integration.capture.application import KEY
from integration.capture.apps.watching import fresh, under, watched
from support.templates import Template

TABLES = {"alembic_version", "author", "box", "loan", "person", "record"}
FULL = "0029"
"""The last revision before the demonstration's rows are deleted."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The application: its package, its database and its trail."""

    package: Any
    engine: Engine
    trail: AuditTrail | None

    def upgrade(self, revision: str = "head") -> None:
        """Upgrade, and at the end make the tables of the trail."""
        self.package.upgrade(self.engine, revision)
        if self.trail is not None and revision == "head":
            self.package.Base.metadata.create_all(self.engine)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def tables(self) -> set[str]:
        """The application's tables."""
        names = inspect(self.engine).get_table_names()
        return {name for name in names if not name.startswith("audit_")}

    def session(self) -> Session:
        """A session for the application's work."""
        return Session(self.engine)


def opened(url: str, *, is_audited: bool) -> Archive:
    """Open the application on this database."""
    package, engine = fresh("apps.archive"), create_engine(url)
    trail = package.audited(engine, mac_key=KEY) if is_audited else None
    return Archive(package=package, engine=engine, trail=trail)


@pytest.fixture
def archive(url: str, is_audited: bool, caplog: pytest.LogCaptureFixture) -> Iterator[Archive]:  # noqa: FBT001 (a fixture)
    """The application on an empty database, which a test leaves at the last revision."""
    made = opened(url, is_audited=is_audited)
    with watched(made.engine, made.trail, caplog, secrets=[]):
        yield made
        made.upgrade()


@cache
def _full(is_audited: bool) -> Template:  # noqa: FBT001 (a parameter of tests)
    def fill(url: str, _folder: Path) -> None:
        made = opened(url, is_audited=is_audited)
        made.upgrade(FULL)
        made.engine.dispose()

    return Template(fill)


@pytest.fixture(params=["sqlite", "postgresql"])
def full(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    is_audited: bool,  # noqa: FBT001 (a fixture)
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Archive]:
    """The same after the revisions up to `FULL`, which are run once for all tests."""
    with _full(is_audited).copied(request.param, tmp_path) as url:
        made = opened(url, is_audited=is_audited)
        with watched(made.engine, made.trail, caplog, secrets=[]):
            yield made
            made.upgrade()


def test_an_empty_database_gets_all_tables(archive: Archive) -> None:
    """No revision needs the trail's tables, nor an actor."""
    archive.upgrade()
    assert TABLES == archive.tables()
    assert archive.package.current(archive.engine) == "0030"


def test_raw_sql_and_bulk_inserts_carry_data(full: Archive) -> None:
    """Years are guessed, fees raised and records moved."""
    assert [(1, 1907), (12, 1984)] == full.rows(
        "SELECT id, year FROM record WHERE id IN (1, 12) ORDER BY id"
    )
    fees = [round(Decimal(str(fee)), 2) for (fee,) in full.rows("SELECT fee FROM loan ORDER BY id")]
    assert [Decimal("1.00"), Decimal("1.25")] == fees
    assert [("A-1", 8), ("A-2", 4)] == full.rows(
        "SELECT shelf_mark, records FROM box ORDER BY shelf_mark"
    )


def test_names_are_split_row_by_row(full: Archive) -> None:
    """By statements on the connection of the migration."""
    assert [("Ann", "Lee"), ("Bob", None), ("Cy", "de Witt")] == full.rows(
        "SELECT first_name, last_name FROM person ORDER BY id"
    )


def test_notes_are_written_by_a_session(archive: Archive) -> None:
    """Of reflected classes, as old revisions have them."""
    archive.upgrade("0019")
    assert [("Record 1 of 1907",)] == archive.rows("SELECT note FROM record WHERE id = 1")


def test_the_schema_is_what_the_models_say(full: Archive) -> None:
    """Nothing is left for Alembic to propose."""
    full.upgrade()
    names = TABLES - {"alembic_version"}
    options = {"include_name": lambda name, kind, _parents: kind != "table" or name in names}
    with full.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        proposed = compare_metadata(context, full.package.Base.metadata)
    assert [] == [one for one in proposed if "audit_" not in str(one)]


def test_revision_after_revision_is_run(archive: Archive) -> None:
    """One upgrade for each, as a team runs them over the years."""
    for number in range(1, 31):
        archive.upgrade(f"{number:04d}")
        assert f"{number:04d}" == archive.package.current(archive.engine)


def test_revisions_are_taken_back(archive: Archive) -> None:
    """Down to nothing, and up again."""
    archive.package.upgrade(archive.engine)
    archive.package.downgrade(archive.engine, "base")
    assert {"alembic_version"} == archive.tables()
    archive.upgrade()
    assert TABLES == archive.tables()


def test_the_archive_is_used(full: Archive) -> None:
    """Objects are written behind the last revision."""
    full.upgrade()
    models = full.package.models
    with audit_context(actor=Actor.user(1)), full.session() as session:
        box = models.Box(shelf_mark="C-1")
        person = models.Person(first_name="Dot", last_name=None)
        session.add_all([box, person])
        session.flush()
        record = models.Record(title="T", box_id=box.id, year=2000, data={"a": [1]})
        record.authors.append(person)
        session.add(record)
        session.commit()
        session.add(models.Loan(record_id=record.id, person_id=person.id, fee=Decimal("2.50")))
        record.data = {"a": 2}
        session.commit()
        record.authors.clear()
        session.commit()
    assert [("T", 2000)] == full.rows("SELECT title, year FROM record")


def test_a_shelf_mark_that_is_taken_is_refused(full: Archive) -> None:
    """The constraint that a batch migration made holds."""
    full.upgrade()
    box = full.package.models.Box
    with audit_context(actor=Actor.user(1)), full.session() as session:
        session.add_all([box(shelf_mark="C-1"), box(shelf_mark="C-1")])
        with pytest.raises(IntegrityError):
            session.commit()
    assert [(0,)] == full.rows("SELECT count(*) FROM box")


@pytest.mark.parametrize(
    "revision",
    ["0001", *(pytest.param(one, marks=pytest.mark.slow) for one in ("0010", "0020")), "0024"],
)
def test_a_trail_that_begins_between_two_revisions_stops_none(url: str, revision: str) -> None:
    """Triggers are made for the columns that the tables have, and not for those of the models."""
    package, engine = fresh("apps.archive"), create_engine(url)
    trail = package.audited(engine, mac_key=KEY)
    package.upgrade(engine, revision)
    for table in package.Base.metadata.sorted_tables:
        if table.name.startswith("audit_"):
            table.create(engine)
    package.upgrade(engine)
    with audit_context(actor=Actor.user(1)), Session(engine) as session:
        session.add(package.models.Box(shelf_mark="C-1"))
        session.commit()
    action, _, changes = under(engine, trail).told()[-1]
    assert ("box.create", {"new": "C-1"}) == (action, changes["shelf_mark"])
    engine.dispose()
