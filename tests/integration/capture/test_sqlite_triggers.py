"""SQLite's triggers: what they stage is what the tables hold."""

# ruff: noqa: S608 (the statements are those of the test)

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from sqlite3 import sqlite_version_info
from typing import Any, TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Computed,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import StaticPool

from auditspan import AuditConfigError, AuditTrail
from auditspan.format import Number
from auditspan.mapping.row_image import parse_image
from auditspan.storage.audit_change import audit_change_table
from auditspan.storage.triggers.sqlite import trigger_problems, trigger_removal, trigger_statements
from auditspan.storage.triggers.staged_table import StagedTable

Row: TypeAlias = dict[str, Any]
AFFINITIES = {"i": Integer, "r": Float, "n": Numeric, "t": Text, "b": LargeBinary}
IS_INEXACT = (3, 47) <= sqlite_version_info < (3, 53)
"""Whether this SQLite prints the last digit of doubles beyond 1e118 and below 1e-82 wrongly."""


def is_printed(value: float) -> bool:
    """Return whether this SQLite prints every digit of the double."""
    return not IS_INEXACT or not value or 1e-82 < abs(value) < 1e118


DOUBLES = st.floats(allow_nan=False, allow_infinity=False).filter(is_printed)
VALUES = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | DOUBLES.map(lambda x: x or 0.0)
    | st.sampled_from((float("inf"), float("-inf")))
    | st.text()
    | st.binary()
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty database file, with foreign keys on."""
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}", poolclass=StaticPool)
    event.listen(engine, "connect", lambda c, _: c.execute("PRAGMA foreign_keys = ON"))
    yield engine
    engine.dispose()


def staged(table: Table, *excluded: str) -> StagedTable:
    staging = audit_change_table(table.metadata)
    return StagedTable(table=table, staging=staging, excluded=frozenset(excluded))


def guard(connection: Connection, *tables: StagedTable) -> None:
    """Create the tables that are missing, and their triggers."""
    tables[0].table.metadata.create_all(connection)
    for one in tables:
        run(connection, *trigger_statements(one, connection.dialect))


def run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)


def changes(connection: Connection, schema: str = "main") -> list[tuple[Any, ...]]:
    """Return operation, old and new image of what is staged."""
    rows = connection.exec_driver_sql(
        f"SELECT operation, old, new FROM {schema}.audit_change WHERE id > 0 ORDER BY id"
    )
    return [(row[0], *(text and plain(text) for text in row[1:])) for row in rows]


def plain(text: str) -> Row:
    return {name: value(raw) for name, raw in parse_image(text).values.items()}


def value(raw: Any) -> Any:
    """Convert a value of an image to what the driver returns."""
    if not isinstance(raw, Number):
        return raw
    return float(raw) if set(".e") & set(raw) else int(raw)


def replay(connection: Connection, key: str = "id") -> dict[Any, Row]:
    """Apply what is staged to an empty table; each before-image must be the row that is there."""
    rows: dict[Any, Row] = {}
    for operation, old, new in changes(connection):
        if old is not None:
            assert old == rows.pop(old[key]), (operation, old, new)
        if new is not None:
            assert new[key] not in rows, (operation, old, new)
            rows[new[key]] = new
    return rows


def contents(connection: Connection, table: str, key: str = "id") -> dict[Any, Row]:
    rows = connection.exec_driver_sql(f'SELECT * FROM "{table}"').mappings()
    return {row[key]: dict(row) for row in rows}


def exact(values: Any) -> Any:
    """Make 1 and 1.0, and different bits of a double, compare as different."""
    return [(type(v), struct.pack("d", v) if isinstance(v, float) else v) for v in values]


AFFINITY_TABLE = Table(
    "t",
    MetaData(),
    Column("id", Integer, primary_key=True),
    *map(Column, AFFINITIES, AFFINITIES.values()),
)


@pytest.fixture(scope="module")
def affinities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('db') / 'app.db'}")
    with engine.connect() as connection:
        guard(connection, staged(AFFINITY_TABLE))
        yield connection
    engine.dispose()


@given(VALUES)
@example("a\0b")
@example('\x01"\\\x7f\n')
@example(float("inf"))
@example(float("-inf"))
@example(5e-324)
@example(2**53 + 1)
@example("9e999")
def test_every_value_reads_back_from_every_affinity(affinities: Connection, given: Any) -> None:
    """The image has each column's value as the table stores it."""
    run(affinities, "DELETE FROM t", "DELETE FROM audit_change")
    affinities.exec_driver_sql(
        "INSERT INTO t (i, r, n, t, b) VALUES (?, ?, ?, ?, ?)", (given,) * len(AFFINITIES)
    )
    ((_, _, image),) = changes(affinities)
    stored = affinities.exec_driver_sql("SELECT i, r, n, t, b FROM t").one()

    assert exact(stored) == exact(image[name] for name in AFFINITIES)


@given(DOUBLES.map(lambda x: x or 0.0))
def test_double_reads_back_bit_by_bit(affinities: Connection, given: float) -> None:
    """A double of a column without affinity keeps every bit."""
    run(affinities, "DELETE FROM t", "DELETE FROM audit_change")
    affinities.exec_driver_sql("INSERT INTO t (b) VALUES (?)", (given,))

    assert exact([given]) == exact([changes(affinities)[0][2]["b"]])


def test_negative_zero_is_staged_as_zero(affinities: Connection) -> None:
    """SQL cannot see the sign of zero, which only a column without affinity stores."""
    run(affinities, "DELETE FROM t", "DELETE FROM audit_change")
    affinities.exec_driver_sql("INSERT INTO t (r, b) VALUES (?, ?)", (-0.0, -0.0))
    image = changes(affinities)[0][2]

    assert exact([0.0, 0.0]) == exact([image["r"], image["b"]])


@given(st.binary(min_size=1))
@example(b"\xff")
@example(b"a\x80")
@example(b"\xc3")
@example(b"\xed\xa0\x80")
def test_text_that_is_not_utf8_keeps_its_bytes(affinities: Connection, given: bytes) -> None:
    """Text that is not valid UTF-8 is read with surrogates in place of the bytes."""
    run(affinities, "DELETE FROM t", "DELETE FROM audit_change")
    affinities.exec_driver_sql("INSERT INTO t (t) VALUES (CAST(? AS TEXT))", (given,))

    assert given == changes(affinities)[0][2]["t"].encode("utf-8", "surrogateescape")


def two_keys(*more: Any, **options: Any) -> Table:
    return Table(
        "t",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("code", Text, unique=True),
        Column("v", Integer),
        *more,
        **options,
    )


def test_json_result_is_staged_as_text(engine: Engine) -> None:
    """The result of a JSON function is staged as the text that the column holds."""
    with engine.connect() as connection:
        guard(connection, staged(two_keys()))
        run(connection, "INSERT INTO t (id, code) VALUES (1, json('[1]'))")

        assert "[1]" == changes(connection)[0][2]["code"]


def test_two_hundred_columns_are_staged(engine: Engine) -> None:
    """A table of 200 columns stages all of them, before and after."""
    names = [f"c{n}" for n in range(200)]
    table = Table("t", MetaData(), *(Column(n, Integer, primary_key=n == "c0") for n in names))
    old = dict.fromkeys(names, 7)
    with engine.connect() as connection:
        guard(connection, staged(table))
        run(connection, f"INSERT INTO t VALUES ({','.join(['7'] * 200)})", "UPDATE t SET c199 = 8")

        assert ("UPDATE", old, {**old, "c199": 8}) == changes(connection)[1]


@pytest.mark.parametrize(
    ("stored", "assigned", "count"),
    [("1", "1", 0), ("1", "1.0", 1), ("'a'", "'A'", 1), ("NULL", "NULL", 0), ("NULL", "0", 1),
     ("'a'", "x'61'", 1), ("''", "NULL", 1), ("9e999", "9e999", 0)],
)  # fmt: skip
def test_update_is_staged_when_a_value_differs(
    engine: Engine, stored: str, assigned: str, count: int
) -> None:
    """An UPDATE is staged if and only if the storage class or the value changes."""
    with engine.connect() as connection:
        table = Table("t", MetaData(), Column("id", Integer, primary_key=True))
        table.append_column(Column("v", LargeBinary))
        run(connection, "CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB COLLATE NOCASE)")
        guard(connection, staged(table))
        run(connection, f"INSERT INTO t VALUES (1, {stored})", f"UPDATE t SET v = {assigned}")

        assert count == len(changes(connection)) - 1


def random_write(random_: random.Random, columns: str = "id, code, v") -> str:
    def key() -> int:
        return random_.randrange(1, 7)

    policy = random_.choice(["", "OR REPLACE", "OR IGNORE", "OR REPLACE"])
    row = f"({key()}, 'c{key()}', {key()})"
    return random_.choice(
        [
            f"INSERT {policy} INTO t ({columns}) VALUES {row}, ({key()}, 'c{key()}', 0)",
            f"INSERT INTO t ({columns}) VALUES {row} ON CONFLICT (code) DO UPDATE SET v = v + 1",
            f"INSERT INTO t ({columns}) VALUES {row} ON CONFLICT DO NOTHING",
            f"UPDATE {policy} t SET code = 'c{key()}' WHERE v = {key()}",
            f"UPDATE {policy} t SET id = {key()}, code = 'c{key()}' WHERE id = {key()}",
            f"DELETE FROM t WHERE id = {key()}",
        ]
    )


SHAPES: dict[str, Any] = {
    "rowid": two_keys,
    "without rowid": lambda: two_keys(sqlite_with_rowid=False),
    "partial index": lambda: two_keys(
        Index("u", "v", unique=True, sqlite_where=Column("v", Integer) > 3)
    ),
    "expression index": lambda: _with_expression(two_keys()),
    "text key": lambda: Table(
        "t", MetaData(), Column("id", Integer, unique=True), Column("code", Text, primary_key=True),
        Column("v", Integer),
    ),
}  # fmt: skip


def attempt(connection: Connection, statement: str) -> None:
    """Run a statement; undo it if it violates a constraint."""
    run(connection, "SAVEPOINT s")
    try:
        run(connection, statement)
    except IntegrityError:
        run(connection, "ROLLBACK TO s")
    run(connection, "RELEASE s")


def _with_expression(table: Table) -> Table:
    Index("u", func.abs(table.c.v), unique=True)
    return table


@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 20))]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_replay_of_random_replaces_equals_the_table(engine: Engine, shape: str, seed: int) -> None:
    """What is staged, applied to an empty table, gives the rows of the table."""
    random_ = random.Random(seed)  # noqa: S311 (a test that repeats)
    with engine.connect() as connection:
        guard(connection, staged(SHAPES[shape]()))
        for _ in range(60):
            attempt(connection, random_write(random_))

        assert contents(connection, "t") == replay(connection)


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
@pytest.mark.parametrize("seed", range(10))
def test_replay_of_inserts_in_a_tree_equals_the_table(
    engine: Engine, action: str, seed: int
) -> None:
    """A displaced row whose removal deletes or changes other candidates is staged once.

    Left out is UPDATE OR REPLACE that displaces the parent of the row it updates: the action then
    changes or deletes that row in the middle of its update, which SQLite calls undefined.
    """
    random_ = random.Random(seed)  # noqa: S311 (a test that repeats)
    with engine.connect() as connection:
        run(
            connection,
            "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE,"
            f" v INTEGER REFERENCES t ON DELETE {action})",
        )
        guard(connection, staged(two_keys()))
        for _ in range(60):
            statement = random_write(random_)
            if not statement.startswith("UPDATE"):
                attempt(connection, statement)

        assert contents(connection, "t") == replay(connection)


def test_displaced_rows_are_staged_before_the_new_row(engine: Engine) -> None:
    """REPLACE by two keys stages a DELETE for each displaced row, then the INSERT."""
    with engine.connect() as connection:
        guard(connection, staged(two_keys()))
        run(connection, "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)", "DELETE FROM audit_change")
        run(connection, "INSERT OR REPLACE INTO t VALUES (1, 'b', 3)")

        assert ["DELETE", "DELETE", "INSERT"] == [change[0] for change in changes(connection)]


def test_upsert_is_staged_as_an_update(engine: Engine) -> None:
    """ON CONFLICT DO UPDATE stages the update and nothing else."""
    with engine.connect() as connection:
        guard(connection, staged(two_keys()))
        upsert = "INSERT INTO t VALUES (1, 'a', 1) ON CONFLICT (id) DO UPDATE SET v = 2"
        run(connection, upsert, upsert)

        assert ["INSERT", "UPDATE"] == [change[0] for change in changes(connection)]


def test_candidates_left_behind_are_few(engine: Engine) -> None:
    """A thousand ignored inserts leave 16 candidates."""
    with engine.connect() as connection:
        guard(connection, staged(two_keys()))
        run(connection, *(f"INSERT INTO t VALUES ({n}, 'c{n}', 0)" for n in range(100)))
        run(connection, *(["INSERT OR IGNORE INTO t SELECT * FROM t"] * 10))
        count = connection.exec_driver_sql("SELECT count(*) FROM audit_change WHERE id < 0")

        assert 16 == count.scalar_one()


@pytest.mark.parametrize(
    ("action", "staged_change"),
    [
        ("CASCADE", ("DELETE", {"id": 5, "parent": 1}, None)),
        ("SET NULL", ("UPDATE", {"id": 5, "parent": 1}, {"id": 5, "parent": None})),
    ],
)
def test_foreign_key_actions_are_staged(engine: Engine, action: str, staged_change: Any) -> None:
    """Rows that a foreign key deletes or changes are staged."""
    metadata = MetaData()
    child = Table("child", metadata, Column("id", Integer, primary_key=True))
    child.append_column(Column("parent", Integer))
    parent = Table("parent", metadata, Column("id", Integer, primary_key=True))
    with engine.connect() as connection:
        run(
            connection,
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent"
            f" ON DELETE {action})",
        )
        guard(connection, staged(parent), staged(child))
        run(connection, "INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (5, 1)")
        run(connection, "DELETE FROM audit_change", "DELETE FROM parent")

        assert staged_change in changes(connection)


def test_generated_columns_are_staged(engine: Engine) -> None:
    """An image has the values of generated columns, stored or virtual."""
    virtual, stored = Computed("v + 1", persisted=False), Computed("v + 2", persisted=True)
    table = two_keys(Column("g", Integer, virtual), Column("s", Integer, stored, unique=True))
    with engine.connect() as connection:
        guard(connection, staged(table))
        run(connection, "INSERT INTO t (id, v) VALUES (1, 5)")
        run(connection, "INSERT OR REPLACE INTO t (id, v) VALUES (2, 5)")

        assert contents(connection, "t") == replay(connection)


def test_names_of_any_kind_are_quoted(engine: Engine) -> None:
    """Names may be reserved words, quoted, or of any script."""
    name = "Zoë's \"select\" 100%: 'naïve'"
    table = Table(name, MetaData(), Column("order", Integer, primary_key=True))
    table.append_column(Column(name, Text, unique=True))
    with engine.connect() as connection:
        table.metadata.create_all(connection)
        guard(connection, staged(table))
        connection.exec_driver_sql(
            f"INSERT INTO {engine.dialect.identifier_preparer.quote(name)} VALUES (1, 'x')"
        )

        assert [("INSERT", None, {"order": 1, name: "x"})] == changes(connection)
        assert [] == trigger_problems(connection, staged(table))


def test_attached_database_has_its_own_staging(engine: Engine, tmp_path: Path) -> None:
    """A table of an attached database is staged in that database."""
    metadata = MetaData(schema="other")
    table = Table("t", metadata, Column("id", Integer, primary_key=True))
    with engine.connect() as connection:
        connection.exec_driver_sql("ATTACH ? AS other", (str(tmp_path / "other.db"),))
        guard(connection, staged(table))
        run(
            connection,
            "INSERT INTO other.t VALUES (1)",
            "INSERT OR REPLACE INTO other.t VALUES (1)",
        )
        operations = [change[0] for change in changes(connection, "other")]

        assert ["INSERT", "DELETE", "INSERT"] == operations
        assert [] == trigger_problems(connection, staged(table))


def test_rolled_back_savepoint_removes_its_rows(engine: Engine) -> None:
    """ROLLBACK TO removes what was staged since the savepoint."""
    with engine.connect() as connection:
        guard(connection, staged(two_keys()))
        run(connection, "INSERT INTO t VALUES (1, 'a', 1)", "SAVEPOINT s", "DELETE FROM t")
        run(connection, "ROLLBACK TO s")

        assert ["INSERT"] == [change[0] for change in changes(connection)]


def test_position_grows_over_a_rolled_back_savepoint(engine: Engine) -> None:
    """The position of a row is above every earlier one, also those rolled back."""
    with engine.connect() as connection:
        guard(connection, staged(two_keys()))
        last = "SELECT position FROM audit_change ORDER BY id DESC LIMIT 1"
        run(connection, "SAVEPOINT s", "INSERT INTO t VALUES (1, 'a', 1)")
        before = connection.exec_driver_sql(last).scalar_one()
        run(connection, "ROLLBACK TO s", "INSERT INTO t VALUES (1, 'a', 1)")

        assert connection.exec_driver_sql(last).scalar_one() > before


def test_rewriting_trigger_is_staged_in_order(engine: Engine) -> None:
    """Rows that the application's own trigger rewrites are staged in the order of the writes."""
    with engine.connect() as connection:
        table = two_keys()
        table.metadata.create_all(connection)
        run(
            connection,
            "CREATE TRIGGER stamp AFTER INSERT ON t"
            " BEGIN UPDATE t SET v = 99 WHERE id = NEW.id; END",
        )
        guard(connection, staged(table))
        run(connection, "INSERT INTO t VALUES (1, 'a', 1)", "REPLACE INTO t VALUES (2, 'a', 1)")

        assert contents(connection, "t") == replay(connection)


def test_rewritten_candidate_is_staged_as_it_was_displaced(engine: Engine) -> None:
    """A row that a BEFORE trigger changes and REPLACE displaces is staged as changed."""
    with engine.connect() as connection:
        table = two_keys()
        table.metadata.create_all(connection)
        run(
            connection,
            "CREATE TRIGGER note BEFORE INSERT ON t"
            " BEGIN UPDATE t SET v = v + 1 WHERE code = NEW.code; END",
        )
        guard(connection, staged(table))
        run(connection, "INSERT INTO t VALUES (1, 'a', 1)", "REPLACE INTO t VALUES (2, 'a', 1)")

        assert contents(connection, "t") == replay(connection)


def test_excluded_column_is_never_staged(engine: Engine) -> None:
    """The value of an excluded column is in no row of the staging table, candidates included."""
    with engine.connect() as connection:
        guard(connection, staged(two_keys(), "code"))
        run(
            connection,
            "INSERT INTO t VALUES (1, 'secret', 1)",
            "UPDATE t SET code = 'secret2'",
            "INSERT OR IGNORE INTO t VALUES (2, 'secret2', 1)",
            "INSERT OR REPLACE INTO t VALUES (2, 'secret2', 1)",
        )
        rows = connection.exec_driver_sql("SELECT * FROM audit_change").all()

        assert (3, False) == (len(rows), "secret" in repr(rows))


def problems_after(engine: Engine, *statements: str) -> list[str]:
    with engine.connect() as connection:
        guard(connection, staged(two_keys()))
        run(connection, *statements)
        return trigger_problems(connection, staged(two_keys()))


def test_triggers_as_made_have_no_problem(engine: Engine) -> None:
    """Triggers just made are found to be right."""
    assert [] == problems_after(engine)


def test_missing_trigger_is_a_problem(engine: Engine) -> None:
    """A dropped trigger is named."""
    (problem,) = problems_after(engine, "DROP TRIGGER auditspan_t_update")

    assert problem.startswith("Trigger auditspan_t_update of table t is missing;")


def test_changed_trigger_is_a_problem(engine: Engine) -> None:
    """A trigger with another body is named."""
    (problem,) = problems_after(
        engine,
        "DROP TRIGGER auditspan_t_update",
        "CREATE TRIGGER auditspan_t_update AFTER UPDATE ON t BEGIN SELECT 1; END",
    )

    assert problem.startswith("Trigger auditspan_t_update of table t has been changed;")


def test_renamed_column_is_a_problem(engine: Engine) -> None:
    """ALTER TABLE RENAME rewrites the triggers that read the column, which is found.

    In a process with a trail they are missing instead: it removes all of them before the statement.
    """
    found = problems_after(engine, "ALTER TABLE t RENAME COLUMN v TO w")
    kinds = ("before_insert", "before_update", "insert", "update", "delete")

    named = {problem.split()[1] for problem in found}
    assert {f"auditspan_t_{kind}" for kind in kinds} <= named


def test_newer_trigger_of_the_application_is_a_problem(engine: Engine) -> None:
    """A trigger that fires before ours is named."""
    (problem,) = problems_after(engine, "CREATE TRIGGER late AFTER INSERT ON t BEGIN SELECT 1; END")

    assert problem.startswith("Trigger late of table t was created after the auditspan triggers")


def test_order_of_our_triggers_is_checked(engine: Engine) -> None:
    """The image of a row must not be staged before those of the rows that it displaced."""
    (insert,) = (
        one
        for one in trigger_statements(staged(two_keys()), engine.dialect)
        if one.startswith('CREATE TRIGGER "auditspan_t_insert" ')
    )

    (problem,) = problems_after(engine, "DROP TRIGGER auditspan_t_insert", insert)

    assert problem.startswith("The triggers of table t fire in the wrong order;")


def test_removal_leaves_no_trigger(engine: Engine) -> None:
    """After the removal the table has no trigger, and a second removal is harmless."""
    with engine.connect() as connection:
        guard(connection, staged(two_keys()))
        run(connection, *trigger_removal(staged(two_keys()), connection.dialect) * 2)
        found = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")

        assert [] == found.all()


def test_text_columns_of_any_length_keep_their_affinity(engine: Engine) -> None:
    """A number stored in a String column is staged as the text that the table holds."""
    with engine.connect() as connection:
        table = Table("t", MetaData(), Column("id", String(9), primary_key=True))
        guard(connection, staged(table))
        run(connection, "INSERT INTO t VALUES (5)")

        assert [("INSERT", None, {"id": "5"})] == changes(connection)


def test_audited_table_of_an_attached_database_is_refused(tmp_path: Path) -> None:
    """Its triggers could not write to the audit tables, and every write would fail."""
    engine = create_engine(f"sqlite:///{tmp_path}/main.db")
    attach = f"ATTACH '{tmp_path}/other.db' AS other"
    event.listen(engine, "connect", lambda driver, _: driver.execute(attach))
    metadata = MetaData()
    key = Column("id", Integer, primary_key=True)
    Table("word", metadata, key, schema="other", info={"audit": True})
    AuditTrail(sessionmaker(engine), metadata=metadata, mac_key=None)
    with pytest.raises(AuditConfigError, match=r"'other\.word' cannot be audited"):
        metadata.create_all(engine)
    engine.dispose()
