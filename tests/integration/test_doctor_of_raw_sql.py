"""`doctor` of an application: the raw SQL that it met, with numbers and remedies."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, MetaData, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from auditspan import Actor, AuditTrail, Exempt, audit_context
from auditspan.seal import Undrained
from auditspan.storage import audit_tables
from auditspan_service.cli import main
from support.relaying import wait_for

MODULE = "shop_of_raw_sql"
LATER = 60.0


@dataclass(frozen=True)
class Shop:
    """An application whose `hidden` table is audited by models that it no longer imports."""

    engine: Engine
    trail: AuditTrail

    def raw(self, *statements: str) -> None:
        """Commit statements past SQLAlchemy."""
        connection = self.engine.raw_connection()
        for statement in statements:
            connection.cursor().execute(statement)
        connection.commit()
        connection.close()

    def doctor(self) -> dict[str, Any]:
        """The JSON object of the command."""
        found: dict[str, Any] = json.loads(self.run("doctor", "--json"))
        return found

    def run(self, *arguments: str) -> str:
        """The output of a command."""
        return CliRunner().invoke(main, ["--app", f"{MODULE}:trail", *arguments]).stdout

    def met(self) -> dict[tuple[str, str], int]:
        """The rows of what `doctor` met, by kind and name."""
        return {(one["kind"], one["name"]): one["rows"] for one in self.doctor()["raw_writes"]}


def hidden_model() -> type[DeclarativeBase]:
    """A model that is not imported any more; its table is audited as long as it lives."""

    class Base(DeclarativeBase):
        metadata = MetaData()

    class Hidden(Base):
        __tablename__ = "hidden"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    audit_tables(Base.metadata)
    return Hidden


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    class Base(DeclarativeBase):
        metadata = MetaData()

    class Order(Base):
        __tablename__ = "orders"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    class Cache(Base):
        __tablename__ = "cache"
        __audit__ = Exempt("computed")
        id: Mapped[int] = mapped_column(primary_key=True)

    class Undecided(Base):
        __tablename__ = "undecided"
        id: Mapped[int] = mapped_column(primary_key=True)

    monkeypatch.setenv("AUDITSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AUDITSPAN_SINK", "file")
    is_file = request.param == "sqlite"
    url = (
        f"sqlite:///{tmp_path / 'shop.db'}" if is_file else request.getfixturevalue("postgres_url")
    )
    engine = create_engine(url)
    trail = AuditTrail(sessionmaker(engine), metadata=Base.metadata, mac_key=None)
    hidden = hidden_model()
    hidden.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    module = ModuleType(MODULE)
    vars(module)["trail"] = trail
    monkeypatch.setitem(sys.modules, MODULE, module)
    yield Shop(engine, trail)
    engine.dispose()


def test_raw_sql_with_an_actor_is_not_mentioned(shop: Shop) -> None:
    """It is recorded as any change; so nothing is met."""
    with audit_context(actor=Actor.system("import")), shop.engine.begin() as connection:
        connection.execute(text("INSERT INTO orders VALUES (1)"))
        connection.execute(text("INSERT INTO cache VALUES (1)"))
    assert {} == shop.met()
    assert "raw SQL" not in shop.run("doctor")


def test_writes_past_the_trail_are_counted_with_their_remedy(shop: Shop) -> None:
    """Tables without a decision or a model, and changes that no session committed."""
    shop.raw(
        "CREATE TABLE legacy (id integer)",
        "INSERT INTO legacy VALUES (1), (2), (3)",
        "INSERT INTO undecided VALUES (1), (2)",
        "INSERT INTO orders VALUES (1), (2)",
        "INSERT INTO cache VALUES (1)",
    )
    assert 2 == Undrained(shop.engine, shop.trail.tables).record()
    expected = {
        ("unattributed", "order"): 2,
        ("unrecorded", "legacy"): 3,
        ("unrecorded", "undecided"): 2,
    }
    wait_for(lambda: expected == shop.met(), LATER)  # PostgreSQL's statistics come a second later
    shown = shop.run("doctor")
    assert "raw SQL: The table legacy has no model, and its changes are not recorded" in shown
    assert "raw SQL: The table undecided has no decision" in shown
    assert "raw SQL: 2 of the newest events are changes of order by the database role" in shown
    (line,) = [line for line in shown.splitlines() if " show " in line]
    event_id = line.partition(" show ")[2][:36]
    assert "order" == json.loads(shop.run("show", event_id, "--json"))["target"]["type"]


def test_changes_that_no_worker_can_record_are_a_problem(shop: Shop) -> None:
    """They stay staged: their models are not imported."""
    shop.raw("INSERT INTO hidden VALUES (1), (2)")
    assert 0 == Undrained(shop.engine, shop.trail.tables).record()
    said = shop.doctor()
    details = [one["detail"] for one in said["findings"] if one["kind"] == "staged"]
    assert 1 == len(details), said
    assert "2 changes of the table hidden are staged" in details[0]
    assert "import its module where the trail is created" in details[0]
    assert ("unrecorded", "hidden") not in shop.met()
