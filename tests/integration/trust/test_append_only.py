"""Every statement that could change or remove a row of the trail is refused on both databases.

DROP and ALTER are not statements on rows, and fire no trigger; who may use them is for the roles.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateSchema, DropSchema

from auditspan import Actor, MacKey, Service
from auditspan.delivery.cursors import load_cursors
from auditspan.delivery.log_record import ExportRecord
from auditspan.delivery.relay import Relay
from auditspan.errors import SinkRejectedError
from auditspan.format.ids import uuid7
from auditspan.format.record import AuditRecord
from auditspan.seal.guards import Finding, check_guards
from auditspan.seal.sealer import Sealer
from auditspan.storage.new_events import insert_records
from auditspan.storage.tables import AuditTables, audit_tables
from support.postgres import empty_database

MAC = MacKey.from_secret(bytes(range(32)))
SIZE = 3
TABLES = ("audit_event", "audit_leaf", "audit_checkpoint", "audit_quarantine")
#: A column of each table that says nothing else, for changing it.
COLUMNS = dict(zip(TABLES, ("body", "leaf_hash", "root_hash", "reason"), strict=True))
EVERY_TABLE = pytest.mark.parametrize("table", TABLES)


class PickySink:
    """Takes all records but the second, which it refuses for ever."""

    name = "picky"

    def send(self, records: Sequence[ExportRecord]) -> None:
        refused = {1} & {r.attributes["audit.sequence.number"] for r in records}
        if refused:
            raise SinkRejectedError("poison")

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A trail with rows in every table, made by the workers themselves."""

    engine: Engine
    tables: AuditTables

    def work(self) -> None:
        """Commit rows, seal them and relay them."""
        with self.engine.begin() as connection:
            insert_records(connection, self.tables, [record(n) for n in range(SIZE)], MAC)
        sealer = Sealer(self.engine, self.tables)
        while sealer.seal():
            pass
        with self.engine.connect() as connection:
            Relay(self.engine, self.tables, PickySink()).deliver(connection)

    def rows(self) -> dict[str, list[Any]]:
        """All rows of the append-only tables, on SQLite with their hidden rowids."""
        rowid = "rowid, " if self.engine.dialect.name == "sqlite" else ""
        with self.engine.connect() as connection:
            return {
                name: sorted(map(tuple, connection.execute(text(f"SELECT {rowid}* FROM {name}"))))  # noqa: S608 (no input)
                for name in TABLES
            }

    def refuses(self, *statements: str, said: str = "append-only") -> None:
        """The last of these statements is refused, and every row is as it was."""
        before = self.rows()
        with self.engine.connect() as connection:
            for statement in statements[:-1]:
                connection.execute(text(statement))
            with pytest.raises(IntegrityError, match=said):
                connection.execute(text(statements[-1]))
            connection.rollback()
        assert before == self.rows()


def record(number: int) -> AuditRecord:
    moment = datetime.now(UTC)
    entropy = time.perf_counter_ns().to_bytes(10, "big")
    return AuditRecord(
        event_id=uuid7(int(moment.timestamp() * 1000), entropy),
        occurred_at=moment,
        action="job.run",
        actor=Actor.system("test"),
        tx_id=str(number),
        service=Service(name="shop"),
    )


def made(engine: Engine) -> Place:
    metadata = MetaData()
    place = Place(engine=engine, tables=audit_tables(metadata))
    metadata.create_all(engine)
    place.work()
    assert {name: bool(rows) for name, rows in place.rows().items()} == dict.fromkeys(TABLES, True)
    return place


# What is refused leaves every row as it was, so that one trail serves for all tests.
@pytest.fixture(scope="module", params=["off", "on"], ids=["plain", "recursive"])
def sqlite(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """SQLite, with and without recursive triggers."""
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'trail.db'}")

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _entry: object) -> None:
        connection.execute(f"PRAGMA recursive_triggers = {request.param}")

    yield made(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Place]:
    """PostgreSQL, as a superuser who owns the tables."""
    with empty_database() as url:
        engine = create_engine(url)
        yield made(engine)
        engine.dispose()


PLAIN = {
    "update": "UPDATE {table} SET {column} = {column}",
    "update of one": (
        "UPDATE {table} SET {column} = NULL WHERE {column} = (SELECT min({column}) FROM {table})"
    ),
    "update from": "UPDATE {table} SET {column} = o.{column} FROM {table} o",
    "delete": "DELETE FROM {table}",
    "delete of one": "DELETE FROM {table} WHERE {column} = (SELECT max({column}) FROM {table})",
    "delete returning": "DELETE FROM {table} RETURNING *",
}


#: The unique keys of each table as SQLite has them, and a fresh value for each.
KEYS = {
    "audit_event": {"rowid": "rowid + 99", "event_id": "'fresh'"},
    "audit_leaf": {
        "rowid": "rowid + 99",
        "seq": "seq + 99",
        "row_id": "row_id + 99",
        "event_id": "'fresh'",
    },
    "audit_checkpoint": {"rowid": "rowid + 99", "tree_size": "tree_size + 99"},
    "audit_quarantine": {"rowid": "rowid + 99", "seq": "seq + 99"},
}
REPLACING = ("INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL", "INSERT")


def copy_of_first(place: Place, verb: str, table: str, fresh: dict[str, str]) -> str:
    """An INSERT of the first row again, with these fresh values."""
    columns = place.tables.event.metadata.tables[table].columns.keys()
    # The id of an event is the rowid under another name.
    names = ["rowid", *(name for name in columns if name != "id")]
    values = ", ".join(fresh.get(name, name) for name in names)
    return f"{verb} INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} LIMIT 1"  # noqa: S608 (no input)


@pytest.mark.parametrize("verb", REPLACING)
@pytest.mark.parametrize(("table", "key"), [(t, k) for t, keys in KEYS.items() for k in keys])
def test_sqlite_insert_of_a_key_that_is_there(
    sqlite: Place, verb: str, table: str, key: str
) -> None:
    """By whichever key a row would be replaced, the hidden rowid too, the insert is refused."""
    others = {name: value for name, value in KEYS[table].items() if name != key}
    sqlite.refuses(copy_of_first(sqlite, verb, table, others))


@EVERY_TABLE
def test_sqlite_insert_of_fresh_keys(sqlite: Place, table: str) -> None:
    """The same statement with every key fresh is an ordinary insert: it is the key that counts."""
    statement = copy_of_first(sqlite, "INSERT OR REPLACE", table, KEYS[table])
    before = sqlite.rows()
    with sqlite.engine.begin() as connection:
        connection.execute(text(statement))
    after = sqlite.rows()
    assert len(before[table]) + 1 == len(after[table])
    assert set(before[table]) < set(after[table])


@EVERY_TABLE
@pytest.mark.parametrize("rowid", ["-1", "-2", "0", "-9223372036854775808"])
def test_sqlite_rowid_below_one(sqlite: Place, table: str, rowid: str) -> None:
    """No row can have the id that stands for "not given", so none could be replaced by it."""
    fresh = {**KEYS[table], "rowid": rowid}
    for verb in ("INSERT", "INSERT OR REPLACE"):
        sqlite.refuses(copy_of_first(sqlite, verb, table, fresh))


SQLITE = {
    **PLAIN,
    "update or replace": "UPDATE OR REPLACE {table} SET rowid = rowid + 1",
    "update or ignore": "UPDATE OR IGNORE {table} SET {column} = {column}",
    "upsert": (
        "INSERT INTO {table} SELECT * FROM {table} WHERE true "
        "ON CONFLICT DO UPDATE SET {column} = 'x'"
    ),
    "upsert of nothing": (
        "INSERT INTO {table} SELECT * FROM {table} WHERE true ON CONFLICT DO NOTHING"
    ),
    "cte": "WITH o AS (SELECT 1) DELETE FROM {table} WHERE EXISTS (SELECT * FROM o)",
}


@EVERY_TABLE
@pytest.mark.parametrize("statement", SQLITE)
def test_sqlite_only(sqlite: Place, table: str, statement: str) -> None:
    """SQLite's forms of the plain statements are refused."""
    sqlite.refuses(SQLITE[statement].format(table=table, column=COLUMNS[table]))


IDENTITY = {"audit_event": "OVERRIDING SYSTEM VALUE"}
PRIMARY_KEYS = dict(zip(TABLES, ("id", "seq", "tree_size", "sink, seq"), strict=True))
POSTGRESQL = {
    **PLAIN,
    "truncate": "TRUNCATE {table}",
    "truncate only": "TRUNCATE ONLY {table} RESTART IDENTITY CASCADE",
    "truncate all": f"TRUNCATE {', '.join(TABLES)}",
    "upsert": (
        "INSERT INTO {table} {identity} SELECT * FROM {table} "
        "ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column}"
    ),
    "cte": "WITH gone AS (DELETE FROM {table} RETURNING *) SELECT count(*) FROM gone",
    "merge update": (
        "MERGE INTO {table} t USING {table} s ON t.{column} = s.{column} "
        "WHEN MATCHED THEN UPDATE SET {column} = s.{column}"
    ),
    "merge delete": (
        "MERGE INTO {table} t USING {table} s ON t.{column} = s.{column} WHEN MATCHED THEN DELETE"
    ),
    "do": "DO $$ BEGIN DELETE FROM {table}; END $$",
}
BEFORE = {
    "superuser": (),
    "replica": ("SET LOCAL session_replication_role = replica",),
    "owner": (
        "CREATE ROLE {role}",
        "GRANT CREATE, USAGE ON SCHEMA public TO {role}",
        *(f"ALTER TABLE {name} OWNER TO {{role}}" for name in TABLES),
        "SET LOCAL ROLE {role}",
    ),
}


@EVERY_TABLE
@pytest.mark.parametrize("who", BEFORE)
@pytest.mark.parametrize("statement", POSTGRESQL)
def test_postgresql(postgresql: Place, table: str, statement: str, who: str) -> None:
    """No role changes a row: not the owner, not a superuser, not in the role of a replica."""
    names = {
        "table": table,
        "column": COLUMNS[table],
        "key": PRIMARY_KEYS[table],
        "identity": IDENTITY.get(table, ""),
        "role": f"owner_{postgresql.engine.url.database}",
    }
    before = [one.format(**names) for one in BEFORE[who]]
    postgresql.refuses(*before, POSTGRESQL[statement].format(**names))


@EVERY_TABLE
def test_postgresql_copy(postgresql: Place, table: str) -> None:
    """COPY adds rows, as INSERT does; what it brings for a key that is there is refused."""
    before = postgresql.rows()
    url = postgresql.engine.url.set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        with connection.cursor().copy(f"COPY {table} TO STDOUT") as out:
            lines = b"".join(bytes(chunk) for chunk in out)
        with (
            pytest.raises(psycopg.errors.UniqueViolation),
            connection.cursor().copy(f"COPY {table} FROM STDIN") as into,
        ):
            into.write(lines)
        connection.rollback()
    assert before == postgresql.rows()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database of the test's own."""
    url = f"sqlite:///{tmp_path / 'trail.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    engine = create_engine(url)
    yield engine
    engine.dispose()


def test_the_workers_work_on(engine: Engine) -> None:
    """Sealing, relaying and quarantine only add rows; the cursors of delivery move."""
    place = made(engine)
    before = place.rows()
    place.work()
    after = place.rows()
    assert all(set(before[name]) < set(after[name]) for name in TABLES[:3])
    with engine.connect() as connection:
        cursors = load_cursors(connection, place.tables, PickySink.name)
    assert 2 * SIZE == len(after["audit_leaf"]) == cursors.sent + 1


def test_a_copy_of_the_tables_is_guarded_too(engine: Engine) -> None:
    """`to_metadata`, as Flask-SQLAlchemy and tests use it, takes the triggers along."""
    original, copied = MetaData(), MetaData()
    audit_tables(original)
    for table in original.tables.values():
        table.to_metadata(copied)
    copied.create_all(engine)
    with engine.connect() as connection:
        assert [] == broken(connection, audit_tables(copied))


def test_tables_in_a_schema_of_their_own(postgres_url: str) -> None:
    """Function and triggers are in the schema of the tables, made and dropped with it."""
    engine = create_engine(postgres_url)
    metadata = MetaData(schema="Trail of us")
    tables = audit_tables(metadata)
    assert tables == audit_tables(metadata)
    with engine.begin() as connection:
        connection.execute(CreateSchema("Trail of us"))
        metadata.create_all(connection)
        assert [] == broken(connection, tables)
        metadata.drop_all(connection)
        connection.execute(DropSchema("Trail of us"))  # fails unless it is empty
    engine.dispose()


def broken(connection: Connection, tables: AuditTables) -> list[Finding]:
    """Return the findings about the triggers."""
    return [found for found in check_guards(connection, tables) if found.kind == "trigger"]


def test_refusal_names_table_and_statement(sqlite: Place, postgresql: Place) -> None:
    """Table, statement and intention stand in the message; both drivers call it a violated rule."""
    for place in (sqlite, postgresql):
        with place.engine.connect() as connection, pytest.raises(IntegrityError) as caught:
            connection.execute(text("DELETE FROM audit_leaf"))
        message = "audit_leaf is append-only: DELETE is refused, on purpose"
        assert message in str(caught.value.orig)
