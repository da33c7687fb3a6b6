"""The pages on reading the trail, done as they say: calls and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Column, ForeignKey, MetaData, Table
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)

from auditspan import Actor, AuditTrail, MacKey, Policy, audit_context
from auditspan.seal import Sealer, Undrained
from integration.library.world import sqlite_engine_at

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
KIM = Actor.user(7, label="Kim")
LEE = Actor.user(8, label="Lee")


def blocks(page: str) -> list[str]:
    """The Python on a page, block by block."""
    text = (PAGES / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


class Place:
    """The database of the service, with the invoices of an application in it."""

    def __init__(self, folder: Path) -> None:
        class Base(DeclarativeBase):
            metadata = MetaData()

        invoice_label = Table(
            "invoice_label",
            Base.metadata,
            Column("invoice_id", ForeignKey("invoice.id"), primary_key=True),
            Column("label_id", ForeignKey("label.id"), primary_key=True),
        )

        class Label(Base):
            __tablename__ = "label"
            __audit__ = True
            id: Mapped[int] = mapped_column(primary_key=True)

        class Invoice(Base):
            __tablename__ = "invoice"
            __audit__ = Policy(redact={"iban"})
            id: Mapped[int] = mapped_column(primary_key=True)
            total: Mapped[int]
            iban: Mapped[str | None]
            labels: Mapped[list[Any]] = relationship("Label", secondary=invoice_label)

        path = folder / "trail.db"
        self.environ = {
            "AUDITSPAN_DATA_DIR": str(folder / "data"),
            "AUDITSPAN_DATABASE_URL": f"sqlite:///{path}",
        }
        (self.main,) = (
            one.load() for one in entry_points(group="console_scripts", name="auditspan")
        )
        for command in ("db upgrade", "keys init"):
            assert 0 == self.run(command).exit_code
        self.key = MacKey.parse((folder / "data" / "keys" / "mac.key").read_text())
        self.Base, self.Invoice, self.engine = Base, Invoice, sqlite_engine_at(path)
        days = count()
        self.sessions = sessionmaker(self.engine)
        self.trail = AuditTrail(
            self.sessions,
            metadata=Base.metadata,
            mac_key=self.key,
            clock=lambda: datetime(2026, 6, 1, tzinfo=UTC) + next(days) * timedelta(days=20),
        )
        Base.metadata.create_all(self.engine)

    def run(self, command: str) -> Result:
        """Run a command to its end, in this process."""
        return CliRunner().invoke(self.main, shlex.split(command), env=self.environ)

    def tell(self) -> None:
        """A history: June, July, a failure, a deletion, and a program past the application."""
        with self.writing(KIM, "opening") as session:
            session.add_all(
                [self.Invoice(id=42, total=10, iban="DE02"), self.Invoice(id=43, total=1)]
            )
        with self.writing(LEE, "a mistake") as session:
            session.get_one(self.Invoice, 42).total = 12
        with self.writing(LEE, "the second") as session:
            session.get_one(self.Invoice, 42).total = 13
        with self.writing(KIM, "wrong password") as session:
            self.trail.record(session, "login.attempt", outcome="failure")
        with self.writing(KIM, "withdrawn") as session:
            session.delete(session.get_one(self.Invoice, 43))
        raw = self.engine.raw_connection()
        raw.cursor().execute("INSERT INTO invoice (id, total) VALUES (44, 1)")
        raw.commit()
        raw.close()
        Undrained(self.engine, self.trail.tables, mac_key=self.key).record()
        Sealer(self.engine, self.trail.tables).seal()

    @contextmanager
    def writing(self, actor: Actor, reason: str) -> Iterator[Session]:
        """A transaction of this actor."""
        with audit_context(actor=actor, reason=reason), self.sessions.begin() as session:
            yield session


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One database for all questions, which change nothing."""
    made = Place(tmp_path_factory.mktemp("auditor"))
    made.tell()
    yield made
    made.engine.dispose()


def test_ten_questions_of_an_auditor_are_answered_by_one_call_each(place: Place) -> None:
    """As the page says, in the order of the questions."""
    with place.engine.connect() as connection, Session(bind=connection) as session:
        found: dict[str, Any] = {
            "session": session,
            "connection": connection,
            "trail": place.trail,
            "Invoice": place.Invoice,
            "invoice": session.get(place.Invoice, 42),
            "Base": place.Base,
            "mac_key": place.key,
        }
        for block in blocks("answer-an-auditor.md"):
            exec(block, found)  # noqa: S102 (the page)
    assert [("Kim", 6), ("Lee", 6), ("Lee", 7)] == [(who, at.month) for who, at in found["who"]]
    assert [({}, 10), ({"total": 10}, 12), ({"total": 12}, 13)] == [
        (old, new["total"]) for old, new in found["what"]
    ]
    assert 12 == found["then"]["total"]
    assert ["invoice.delete", "login.attempt", "invoice.create", "invoice.create"] == found["did"]
    assert ["the second", "a mistake", "opening"] == found["why"]
    assert [("Kim", 43)] == [(who, old["id"]) for who, old in found["deleted"]]
    assert ["wrong password"] == found["failed"]
    assert ["44"] == [target.id for target in found["past"]]
    assert (True, True, True) == (found["secret"], found["unchanged"], found["complete"])


COMMANDS = {
    "history invoice 42": ["Kim", "Lee"],
    "history invoice 42 --json": ['"old": 12', '"new": 13'],
    "events --actor 7": ["login.attempt", "invoice.delete"],
    "events --target-type invoice --target-id 42 --field total --json": ["a mistake"],
    "events --action '*.delete'": ["invoice.delete"],
    "events --outcome failure": ["login.attempt"],
    "events --json": ['"type": "database"'],
    "show EVENT_ID": ["$redacted"],
    "verify --state": ["7 rows"],
}


def test_the_page_names_these_commands() -> None:
    """And one more, which needs the collector's files."""
    page = (PAGES / "answer-an-auditor.md").read_text(encoding="utf-8")
    assert [*COMMANDS, "verify --witness FILE"] == re.findall(r"`auditspan ([^`]+)`", page)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_questions_are_answered_by_commands(place: Place, command: str) -> None:
    """Those that have one; `verify` has nothing of the service's own to compare."""
    with place.sessions() as session:
        created = place.trail.history(session, place.Invoice, 42)[0]
    done = place.run(command.replace("EVENT_ID", created.event_id))
    assert done.exit_code == (1 if "--state" in command else 0), done.output
    for words in COMMANDS[command]:
        assert words in done.stdout


def test_an_earlier_state_is_seen_and_restored_as_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first block of the page."""
    place = Place(tmp_path)
    with place.writing(KIM, "opening") as session:
        session.add(place.Invoice(id=42, total=10))
    with place.writing(LEE, "twice") as session:
        session.get_one(place.Invoice, 42).total = 20
    program = blocks("see-an-earlier-state.md")[0].replace(
        "datetime.now(UTC) - timedelta(days=1)", "datetime(2026, 6, 2, tzinfo=UTC)"
    )
    exec(program, names(place))  # noqa: S102 (the page)
    assert "10 () Kim\n" == capsys.readouterr().out
    with place.sessions() as session:
        assert 10 == session.get_one(place.Invoice, 42).total
    place.engine.dispose()


def test_old_rows_are_adopted_as_the_page_says(tmp_path: Path) -> None:
    """Both blocks of the page; the second records nothing more."""
    place = Place(tmp_path)
    with place.trail.unaudited(reason="old"), place.writing(KIM, "old") as session:
        session.add(place.Invoice(id=42, total=10))
    bar = Bar()
    found = {**names(place), "bar": bar}
    first, second = blocks("adopt-late.md")
    exec(first, found)  # noqa: S102 (the page)
    with audit_context(actor=KIM), place.sessions() as session:
        exec(second, {**found, "session": session})  # noqa: S102
    with place.sessions() as session:
        (event,) = place.trail.history(session, place.Invoice, 42)
    assert ("invoice.baseline", "audited from now on", 1) == (event.action, event.reason, bar.seen)
    place.engine.dispose()


class Bar:
    """A progress bar."""

    seen = 0

    def update(self, read: int) -> None:
        """Move on."""
        self.seen += read


def names(place: Place) -> dict[str, Any]:
    """What the programs of a page have imported."""
    return {
        "Session": place.sessions,
        "trail": place.trail,
        "Invoice": place.Invoice,
        "Actor": Actor,
        "audit_context": audit_context,
    }
