"""Triggers and drain on a real PostgreSQL; each test repeats an experiment of the design."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
)
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from auditspan.storage.triggers.postgresql import (
    staging_removal,
    trigger_removal,
    trigger_statements,
)
from auditspan.storage.triggers.postgresql_functions import functions_of
from auditspan.storage.triggers.staged_table import StagedTable
from integration.capture.staged_postgresql import (
    RECORD,
    Staged,
    drained,
    drained_texts,
    staged_database,
)

ONE = {"id": 1, "name": "one"}
TWO = {"id": 2, "name": "two"}
INSERT_ONE = "INSERT INTO thing VALUES (1, 'one')"
INSERT_TWO = "INSERT INTO thing VALUES (2, 'two')"
THREADS = 8
ROUNDS = 12


@pytest.fixture
def database(postgres_url: str) -> Iterator[Staged]:
    """An empty staging table."""
    with staged_database(postgres_url) as staged:
        yield staged


@pytest.fixture
def thing(database: Staged) -> StagedTable:
    """The table `thing` with a key and a name."""
    return database.created(_thing())


def _thing(name: str = "thing", schema: str | None = None, *more: Column[Any]) -> Table:
    return Table(
        name,
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("name", String(200)),
        *more,
        schema=schema,
    )


def _note(text: str | bytes) -> dict[str, object]:
    content = text.encode() if isinstance(text, str) else base64.b64encode(text)
    return {"$len": len(content), "$sha256": sha256(content).hexdigest()}


TYPES = {
    "boolean": ("true", "true"),
    "smallint": ("'-32768'", "-32768"),
    "bigint": ("9223372036854775807", "9223372036854775807"),
    "numeric": ("1.00", "1.00"),
    "real": ("'0.1'", "0.1"),
    "double precision": ("'-0'", "-0"),
    "money": ("12.34", '"$12.34"'),
    "char(3)": ("'a'", '"a  "'),
    "text": ("E'\\u00e9\\n\"'", '"\u00e9\\n\\""'),
    "bytea": ("'\\xdeadbeef'", '"\\\\xdeadbeef"'),
    "date": ("'2026-02-03'", '"2026-02-03"'),
    "time": ("'04:05:06.789'", '"04:05:06.789"'),
    "timestamp": ("'2026-02-03 04:05:06.789'", '"2026-02-03T04:05:06.789"'),
    "timestamptz": ("'2026-02-03 04:05:06+02'", '"2026-02-03T02:05:06+00:00"'),
    "interval": ("'1 year 2 days 3 hours'", '"P1Y2DT3H"'),
    "uuid": (
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"',
    ),
    "json": (
        '\'{"a":"\\u0000","a":1e400,"b": "\\ud800"}\'',
        '{"a":"\\u0000","a":1e400,"b": "\\ud800"}',
    ),
    "jsonb": ('\'{"b":1.00,"a":null}\'', '{"a": null, "b": 1.00}'),
    "integer[]": ("'{1,NULL}'", "[1,null]"),
    "int4range": ("'[1,3)'", '"[1,3)"'),
    "inet": ("'192.0.2.1/24'", '"192.0.2.1/24"'),
    "bit(3)": ("B'101'", '"101"'),
    "point": ("'1,2'", '"(1,2)"'),
    "tsvector": ("'a:1'", "\"'a':1\""),
}


@pytest.mark.parametrize("kind", TYPES)
def test_image_holds_each_type_as_its_text(database: Staged, kind: str) -> None:
    """An image holds a value of any type as PostgreSQL writes it under pinned settings."""
    value, expected = TYPES[kind]
    database.run(f"CREATE TABLE thing (v {kind})")
    database.table(Table("thing", MetaData(), Column("v", Text)))
    assert [("INSERT", None, f'{{"v":{expected}}}')] == database.texts(
        "SET LOCAL TimeZone = 'Asia/Tokyo'",
        "SET LOCAL DateStyle = 'German'",
        "SET LOCAL IntervalStyle = 'postgres_verbose'",
        "SET LOCAL bytea_output = 'escape'",
        "SET LOCAL extra_float_digits = -15",
        f"INSERT INTO thing VALUES ({value})",  # noqa: S608 (quoted names)
    )


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [("numeric", "1.0", "1.00"), ("float", "0", "'-0'"), ("json", "'{}'", "'{ }'")],
)
def test_update_to_an_equal_value_of_other_form_is_staged(
    database: Staged, kind: str, old: str, new: str
) -> None:
    """An UPDATE is staged when the stored bytes change, equal or not."""
    database.run(
        f"CREATE TABLE thing (id integer, v {kind})",
        f"INSERT INTO thing VALUES (1, {old})",  # noqa: S608 (quoted names)
    )
    database.table(Table("thing", MetaData(), Column("id", Integer), Column("v", JSON)))
    plain = (old.strip("'"), new.strip("'"))
    expected = [("UPDATE", *(f'{{"id":1,"v":{value}}}' for value in plain))]
    assert expected == database.texts(f"UPDATE thing SET v = {new}")  # noqa: S608 (quoted names)


@pytest.mark.usefixtures("thing")
def test_update_that_changes_nothing_is_not_staged(database: Staged) -> None:
    """An UPDATE that leaves every byte of a row stages nothing."""
    assert [("INSERT", None, ONE)] == database.changes(INSERT_ONE, "UPDATE thing SET name = 'one'")


@pytest.mark.usefixtures("thing")
def test_drain_returns_newest_first_and_an_audit_row_removes_them(database: Staged) -> None:
    """The drain returns all rows, newest first, until an audit row is inserted behind it."""
    with database.engine.begin() as connection:
        for statement in (INSERT_ONE, INSERT_TWO, "DELETE FROM thing WHERE id = 1"):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(RECORD)
        rows = connection.exec_driver_sql("SELECT * FROM auditspan_drain(3)").all()
        again = connection.exec_driver_sql("SELECT * FROM auditspan_drain(3)").all()
        connection.exec_driver_sql(RECORD)
        empty = connection.exec_driver_sql("SELECT * FROM auditspan_drain(3)").all()
    ids = [row.id for row in rows]
    assert (["DELETE", "INSERT", "INSERT"], sorted(ids, reverse=True), rows, [], 0) == (
        [row.operation for row in rows],
        ids,
        again,
        empty,
        database.left(),
    )


@pytest.mark.usefixtures("thing")
def test_drain_above_its_limit_removes_nothing(database: Staged) -> None:
    """A drain that finds more rows than allowed returns one row without an id."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql(INSERT_ONE)
        connection.exec_driver_sql(INSERT_TWO)
        rows = connection.exec_driver_sql("SELECT id FROM auditspan_drain(1)").all()
    assert ([(None,)], 2) == ([tuple(row) for row in rows], database.left())


@pytest.mark.usefixtures("thing")
def test_drain_of_another_transaction_finds_nothing(database: Staged) -> None:
    """A drain takes no rows that another transaction staged, also on the same connection."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql(INSERT_ONE)
        connection.commit()
        assert ([], 1) == (drained(connection), database.left())


@pytest.mark.usefixtures("thing")
def test_session_level_chain_counts_as_empty(database: Staged) -> None:
    """A value of the setting from another transaction neither fails a write nor hides its rows."""
    for value in ("nonsense", "1 (0,1) 1"):
        statement = f"SET {'auditspan.chain'} = '{value}'"
        changes = database.changes(statement, "DELETE FROM thing", INSERT_ONE)
        assert ("INSERT", None, ONE) == changes[-1]


@pytest.mark.usefixtures("thing")
def test_drain_of_a_transaction_without_a_chain_ignores_a_session_level_one(
    database: Staged,
) -> None:
    """A transaction that wrote only elsewhere drains nothing, and does not fail."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql("SET auditspan.chain = '1 (0,1) 1'")
        connection.exec_driver_sql("CREATE TABLE elsewhere (id integer)")
        assert [] == drained(connection)


@pytest.mark.usefixtures("thing")
def test_savepoint_rollback_removes_its_rows(database: Staged) -> None:
    """ROLLBACK TO removes the rows staged since the savepoint and keeps the chain intact."""
    assert [("INSERT", None, ONE), ("INSERT", None, TWO)] == database.changes(
        INSERT_ONE,
        "SAVEPOINT s",
        "UPDATE thing SET name = 'gone'",
        "INSERT INTO thing VALUES (9, 'gone')",
        "ROLLBACK TO s",
        INSERT_TWO,
    )


@pytest.mark.usefixtures("thing")
def test_drain_in_a_rolled_back_savepoint_is_undone(database: Staged) -> None:
    """Rows drained inside a savepoint are staged again after it is rolled back."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql(INSERT_ONE)
        savepoint = connection.begin_nested()
        first = drained(connection)
        savepoint.rollback()
        connection.exec_driver_sql(INSERT_TWO)
        expected = [("INSERT", None, ONE)]
        assert (expected, [*expected, ("INSERT", None, TWO)]) == (first, drained(connection))


@pytest.mark.usefixtures("thing")
def test_broken_chain_raises(database: Staged) -> None:
    """A drain raises when a row of its chain is missing."""
    with (
        database.engine.begin() as connection,
        pytest.raises(IntegrityError, match="staged changes of this transaction are incomplete"),
    ):
        connection.exec_driver_sql(INSERT_ONE)
        connection.exec_driver_sql(INSERT_TWO)
        connection.exec_driver_sql("DELETE FROM audit_change WHERE prev IS NULL")
        drained(connection)


@pytest.mark.usefixtures("thing")
def test_forged_chain_takes_no_foreign_row(database: Staged) -> None:
    """A chain set to a row of another transaction makes the drain raise."""
    database.run(INSERT_ONE)
    with (
        database.engine.begin() as connection,
        pytest.raises(IntegrityError, match="there is no row at"),
    ):
        connection.exec_driver_sql(
            "SELECT set_config('auditspan.chain', pg_current_xact_id() || ' (0,1) 1', true)"
        )
        drained(connection)


@pytest.mark.usefixtures("thing")
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO thing VALUES (1, 'one') ON CONFLICT (id) DO UPDATE SET name = 'two'",
        (
            "MERGE INTO thing USING (VALUES (1)) AS v (id) ON v.id = thing.id "
            "WHEN MATCHED THEN UPDATE SET name = 'two'"
        ),
        "WITH one AS (UPDATE thing SET name = 'two' RETURNING 1) SELECT * FROM one",
        "DO $$ BEGIN UPDATE thing SET name = 'two'; END $$",
        "UPDATE shown SET name = 'two'",
    ],
    ids=["on-conflict", "merge", "cte", "procedure", "view"],
)
def test_update_by_any_statement_is_staged(database: Staged, statement: str) -> None:
    """An UPDATE is staged whatever statement caused it."""
    database.run("CREATE VIEW shown AS SELECT * FROM thing", INSERT_ONE)
    expected = [("UPDATE", ONE, {"id": 1, "name": "two"})]
    assert expected == database.changes(statement)


@pytest.mark.usefixtures("thing")
def test_copy_is_staged(database: Staged) -> None:
    """Rows loaded by COPY are staged."""
    with database.engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        with driver.cursor().copy("COPY thing FROM STDIN") as copy:
            copy.write("1\tone\n2\ttwo\n")
        assert [("INSERT", None, ONE), ("INSERT", None, TWO)] == drained(connection)


@pytest.mark.usefixtures("thing")
def test_truncate_stages_each_row(database: Staged) -> None:
    """TRUNCATE stages the rows it removes."""
    database.run(INSERT_ONE, INSERT_TWO)
    expected = [("TRUNCATE", ONE, None), ("TRUNCATE", TWO, None)]
    assert expected == database.changes("TRUNCATE thing")


def _partitioned(database: Staged) -> StagedTable:
    database.run(
        "CREATE TABLE thing (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF thing FOR VALUES FROM (0) TO (2)",
        "CREATE TABLE high (name text, id integer NOT NULL)",
        "ALTER TABLE thing ATTACH PARTITION high FOR VALUES FROM (2) TO (9)",
    )
    return database.table(_thing())


def test_partition_is_staged_as_its_parent(database: Staged) -> None:
    """Rows of partitions carry the parent's name, also when they move or are truncated."""
    _partitioned(database)
    changes = database.changes(
        INSERT_ONE, "UPDATE thing SET id = 2", "TRUNCATE high", INSERT_TWO, "TRUNCATE thing"
    )
    moved = {"id": 2, "name": "one"}
    assert [
        ("INSERT", None, ONE),
        ("DELETE", ONE, None),
        ("INSERT", None, moved),
        ("TRUNCATE", moved, None),
        ("INSERT", None, TWO),
        ("TRUNCATE", TWO, None),
    ] == changes


def test_new_partition_without_truncate_trigger_is_reported(database: Staged) -> None:
    """A partition made after the triggers is reported until they are made again."""
    staged = _partitioned(database)
    before = database.problems(staged)
    database.run("CREATE TABLE more PARTITION OF thing DEFAULT")
    expected = (
        "trigger zz_auditspan_truncate on partition more does not exist: recreate the triggers"
    )
    found = database.problems(staged)
    database.table(staged.table)
    assert ([], [expected], []) == (before, found, database.problems(staged))


def test_inheritance_child_without_triggers_is_reported(
    database: Staged, thing: StagedTable
) -> None:
    """An inheritance child lacks all triggers until they are made again."""
    database.run("CREATE TABLE child (more integer) INHERITS (thing)")
    found = database.problems(thing)
    database.table(thing.table)
    changes = database.changes("INSERT INTO child VALUES (1, 'one', 7)", "TRUNCATE thing")
    row = {**ONE, "more": 7}
    assert (4, [], [("INSERT", None, row), ("TRUNCATE", row, None)]) == (
        len(found),
        database.problems(thing),
        changes,
    )


@pytest.mark.parametrize(
    "name", ["select", "Gr\u00f6\u00dfe \"x\" 'y'", "100%s :x \\", "loop", "x" * 63]
)
def test_any_name_can_be_staged(database: Staged, name: str) -> None:
    """Reserved, quoted, long and non-ASCII names of tables, columns and schemas work."""
    large: list[Column[Any]] = [
        Column(name, Text),
        Column("secret", Text),
        Column(f"{name}"[:50] + "b", LargeBinary),
    ]
    database.run("CREATE SCHEMA " + database.engine.dialect.identifier_preparer.quote(name))
    staged = database.created(_thing(name, name, *large), frozenset({"secret"}))
    with database.engine.begin() as connection:
        connection.execute(staged.table.insert(), {"id": 1, name: "x" * 20_000, "secret": "s"})
        [(_, _, (image, notes))] = drained(connection)
    expected = {"id": 1, "name": None, name: None, "secret": None, f"{name}"[:50] + "b": None}
    assert (expected, {"long": {name: _note("x" * 20_000)}}, []) == (
        image,
        notes,
        database.problems(staged),
    )


def test_table_of_another_schema_keeps_its_schema(database: Staged) -> None:
    """The staged row names the schema of a table that has one."""
    database.run("CREATE SCHEMA sales")
    database.created(_thing(schema="sales"))
    with database.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO sales.thing VALUES (1, 'one')")
        row = connection.exec_driver_sql("SELECT * FROM auditspan_drain(NULL)").one()
    assert ("sales", "thing") == (row.table_schema, row.table_name)


def test_excluded_column_is_never_staged(database: Staged) -> None:
    """The value of an excluded column reaches no image, and a change of it alone stages nothing."""
    secret = Column("secret", Text)
    database.created(_thing("thing", None, secret), frozenset({"secret"}))
    image = {**ONE, "secret": None}
    assert [
        ("INSERT", None, image),
        ("UPDATE", image, {**image, "name": "two"}),
        ("TRUNCATE", {**image, "name": "two"}, None),
    ] == database.changes(
        "INSERT INTO thing VALUES (1, 'one', 'hunter2')",
        "UPDATE thing SET secret = 'hunter3'",
        "UPDATE thing SET name = 'two', secret = 'hunter4'",
        "TRUNCATE thing",
    )


def test_excluded_column_of_a_domain_without_null_is_never_staged(database: Staged) -> None:
    """A column whose domain refuses NULL is excluded, and large values of it left out."""
    filled = DOMAIN("filled", Text(), not_null=True)
    columns: tuple[Column[Any], ...] = (
        Column("secret", filled),
        Column("body", filled),
        Column("j", JSON),
    )
    database.created(_thing("thing", None, *columns), frozenset({"secret"}))
    inserted, updated, truncated = database.changes(
        "INSERT INTO thing VALUES (1, 'one', 's', repeat(md5('x'), 1000), '\"\\u0000\"')",
        "UPDATE thing SET name = 'two'",
        "TRUNCATE thing",
    )
    notes = {"long": {"body": _note("9dd4e461268c8034f5c8564e155c67a6" * 1000)}}
    image = {**ONE, "secret": None, "body": None, "j": "\0"}
    assert (("INSERT", None, (image, notes)), {"name": "two", "secret": None}) == (
        inserted,
        {key: truncated[1][key] for key in ("name", "secret")},
    )
    assert image == updated[1][0]


def test_large_unchanged_column_is_left_out(database: Staged) -> None:
    """A text of 1 MB beside the updated column is noted as the same and not staged."""
    database.created(_thing("thing", None, Column("body", Text)))
    body = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 32768) i)"
    database.run(f"INSERT INTO thing VALUES (1, 'one', {body})")  # noqa: S608 (quoted names)
    same, image = {"same": ["body"]}, {**ONE, "body": None}
    expected = [("UPDATE", (image, same), ({**image, "name": "two"}, same))]
    assert expected == database.changes("UPDATE thing SET name = 'two'")


@pytest.mark.parametrize("value", ["\u00e9" * 10_000, b"\xff" * 12_289, b"\x00" * 12_290])
def test_long_value_is_staged_as_length_and_digest(database: Staged, value: str | bytes) -> None:
    """A text over 16 KiB, or bytes whose base64 text is, are staged as length and SHA-256."""
    kind = Text if isinstance(value, str) else LargeBinary
    staged = database.created(_thing("thing", None, Column("body", kind)))
    with database.engine.begin() as connection:
        connection.execute(staged.table.insert(), {"id": 1, "name": "one", "body": value})
        connection.execute(staged.table.delete())
        image = ({**ONE, "body": None}, {"long": {"body": _note(value)}})
        assert [("INSERT", None, image), ("DELETE", image, None)] == drained(connection)


def test_value_at_the_limit_is_staged_whole(database: Staged) -> None:
    """A text of 16 KiB and bytes of 12 KiB are staged as they are."""
    columns: tuple[Column[Any], ...] = (Column("body", Text), Column("data", LargeBinary))
    database.created(_thing("thing", None, *columns))
    [(_, _, image)] = database.changes(
        "INSERT INTO thing VALUES (1, 'one', repeat('x', 16384), "
        "convert_to(repeat('y', 12288), 'UTF8'))"
    )
    assert (16384, 2 + 2 * 12288) == (len(image["body"]), len(image["data"]))


def test_dropped_large_column_does_not_break_writes(database: Staged) -> None:
    """After DROP COLUMN of a column that may be large, rows are staged without it."""
    staged = database.created(_thing("thing", None, Column("body", Text)))
    database.run("ALTER TABLE thing DROP COLUMN body", "ALTER TABLE thing ADD COLUMN more integer")
    expected = [("INSERT", None, {**ONE, "more": 7})]
    changes = database.changes("INSERT INTO thing VALUES (1, 'one', 7)")
    assert (expected, []) == (changes, database.problems(staged))


def test_renamed_excluded_column_fails_the_write(database: Staged) -> None:
    """After RENAME of an excluded column a write fails rather than stage its value."""
    database.created(_thing("thing", None, Column("secret", Text)), frozenset({"secret"}))
    database.run("ALTER TABLE thing RENAME secret TO other")
    with pytest.raises(DBAPIError, match='has no field "secret"'):
        database.run("INSERT INTO thing VALUES (1, 'one', 'hunter2')")


@pytest.mark.usefixtures("thing")
def test_deferred_trigger_writes_after_the_drain_stay_staged(database: Staged) -> None:
    """What a deferred trigger writes at COMMIT stays staged; SET CONSTRAINTS brings it forward."""
    database.run(
        "CREATE TABLE other (id integer)",
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO thing VALUES (NEW.id, ''one''); RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON other DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION late()",
    )
    immediate = database.changes("INSERT INTO other VALUES (1)", "SET CONSTRAINTS ALL IMMEDIATE")
    late = database.changes("INSERT INTO other VALUES (2)")
    assert ([("INSERT", None, ONE)], [], 1) == (immediate, late, database.left())


@pytest.mark.usefixtures("thing")
def test_publication_for_all_tables_does_not_fail_the_drain(database: Staged) -> None:
    """The drain works where a publication covers all tables."""
    database.run("CREATE PUBLICATION everything FOR ALL TABLES")
    assert [("INSERT", None, ONE)] == database.changes(INSERT_ONE)


@pytest.mark.usefixtures("thing")
def test_role_application_and_operation_are_recorded(database: Staged) -> None:
    """A row records the session user, the role that was set, and the application name."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL application_name = 'import'")
        connection.exec_driver_sql(INSERT_ONE)
        connection.exec_driver_sql("GRANT INSERT ON thing TO pg_monitor")
        connection.exec_driver_sql("SET LOCAL ROLE pg_monitor")
        connection.exec_driver_sql(INSERT_TWO)
        connection.exec_driver_sql("RESET ROLE")
        user = connection.exec_driver_sql("SELECT session_user").scalar_one()
        rows = connection.exec_driver_sql("SELECT role, application FROM auditspan_drain(NULL)")
        assert [(f"{user}/pg_monitor", "import"), (user, "import")] == [tuple(row) for row in rows]


FORBIDDEN = [
    "SELECT * FROM audit_change",
    "INSERT INTO audit_change (table_name, operation) VALUES ('thing', 'INSERT')",
    "UPDATE audit_change SET new = NULL",
    "DELETE FROM audit_change",
    "TRUNCATE audit_change",
    "LOCK TABLE audit_change IN ACCESS SHARE MODE",
    "ALTER TABLE thing DISABLE TRIGGER ALL",
    'DROP TRIGGER "00_auditspan_insert" ON thing',
    "SET session_replication_role = replica",
    "SELECT * FROM auditspan_drain(NULL)",
    (
        "CREATE TEMPORARY TABLE forged (id integer, name text); CREATE TRIGGER forged AFTER INSERT "
        "ON forged FOR EACH ROW EXECUTE FUNCTION auditspan_stage_thing()"
    ),
]


@pytest.mark.usefixtures("thing")
@pytest.mark.parametrize("statement", FORBIDDEN)
def test_role_of_the_application_cannot_touch_the_staging(database: Staged, statement: str) -> None:
    """A role with DML on its own tables has its writes staged and no right to anything else."""
    role = f"app_{str(database.engine.url.database)[-12:]}"
    database.run(f"CREATE ROLE {role}", f"GRANT ALL ON SCHEMA public TO {role}")
    database.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON thing TO {role}")
    try:
        with database.engine.begin() as connection:
            connection.exec_driver_sql(f"SET ROLE {role}")
            connection.exec_driver_sql(INSERT_ONE)
            connection.exec_driver_sql("RESET ROLE")
            assert [("INSERT", None, ONE)] == drained(connection)
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
            database.run(f"SET LOCAL SESSION AUTHORIZATION {role}", *statement.split("; "))
    finally:
        database.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def _serialization_failures(url: str, *, drain: bool) -> int:
    """Count the failures of SERIALIZABLE transactions on different rows in eight threads."""
    engine = create_engine(url, isolation_level="SERIALIZABLE", pool_size=THREADS)
    barrier, failures = threading.Barrier(THREADS), []

    def write(number: int) -> None:
        for turn in range(ROUNDS):
            barrier.wait()
            try:
                with engine.begin() as connection:
                    for name in ("a", "b", "c", "d"):
                        connection.exec_driver_sql(
                            f"UPDATE thing SET name = '{name}{turn}' WHERE id = {number * 2000}"  # noqa: S608 (quoted names)
                        )
                    barrier.wait(timeout=60)
                    if drain:
                        assert 4 == len(drained_texts(connection))
                        connection.exec_driver_sql(RECORD)
            except OperationalError as error:
                failures.append(str(error))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()
    return len(failures)


def test_serializable_transactions_on_different_rows_do_not_fail(
    database: Staged, postgres_url: str
) -> None:
    """Triggers, drain and audit rows add no failure, with the staging analyzed while empty."""
    with database.engine.begin() as connection:
        _thing().create(connection)
        # Many rows, so that the updates themselves go by the index.
        connection.exec_driver_sql(
            "INSERT INTO thing SELECT i, 'x' FROM generate_series(0, 20000) i"
        )
    database.run("ANALYZE")
    without = _serialization_failures(postgres_url, drain=False)
    database.table(_thing())
    database.run("ANALYZE audit_change")
    assert (0, 0) == (without, _serialization_failures(postgres_url, drain=True))


def _shown(problems: list[str]) -> list[str]:
    return [problem.removesuffix(": recreate the triggers") for problem in problems]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1", []),
        (
            'DROP TRIGGER "00_auditspan_update" ON thing',
            ["trigger 00_auditspan_update on table thing does not exist"],
        ),
        (
            'ALTER TABLE thing DISABLE TRIGGER "00_auditspan_insert"',
            ["trigger 00_auditspan_insert on table thing is disabled"],
        ),
        (
            'ALTER TABLE thing ENABLE TRIGGER "00_auditspan_insert"',
            [
                (
                    "trigger 00_auditspan_insert on table thing is not ENABLE ALWAYS, so "
                    "session_replication_role disables it"
                )
            ],
        ),
        (
            (
                'DROP TRIGGER "00_auditspan_update" ON thing; CREATE TRIGGER "00_auditspan_update" '
                "AFTER UPDATE ON thing FOR EACH ROW WHEN (OLD.id <> NEW.id) "
                "EXECUTE FUNCTION auditspan_stage_thing()"
            ),
            ["trigger 00_auditspan_update on table thing differs from the one that was created"],
        ),
        (
            (
                "CREATE OR REPLACE FUNCTION auditspan_stage_thing() RETURNS trigger "
                "LANGUAGE plpgsql AS 'BEGIN RETURN NULL;END'"
            ),
            ["function public.auditspan_stage_thing differs from the model and its policy"],
        ),
        (
            "ALTER FUNCTION auditspan_stage_thing() SECURITY INVOKER",
            ["function public.auditspan_stage_thing has unexpected settings"],
        ),
        (
            "DROP FUNCTION auditspan_truncate_thing() CASCADE",
            [
                "function public.auditspan_truncate_thing does not exist",
                "trigger zz_auditspan_truncate on table thing does not exist",
            ],
        ),
        (
            (
                'CREATE TRIGGER "!first" AFTER DELETE ON thing FOR EACH ROW '
                "EXECUTE FUNCTION suppress_redundant_updates_trigger()"
            ),
            [
                (
                    "trigger !first on thing fires before 00_auditspan_delete, so changes are "
                    "staged in the wrong order: rename it to sort after"
                )
            ],
        ),
    ],
)
def test_difference_from_the_made_triggers_is_reported(
    database: Staged, thing: StagedTable, statement: str, expected: list[str]
) -> None:
    """The check names what is missing, disabled, different or in the wrong order."""
    database.run(*statement.split("; "))
    assert expected == _shown(database.problems(thing))


def test_changed_policy_is_reported(database: Staged, thing: StagedTable) -> None:
    """A policy that excludes another column makes the function differ."""
    changed = StagedTable(table=thing.table, staging=thing.staging, excluded=frozenset({"name"}))
    expected = ["stage", "truncate"]
    assert [
        f"function public.auditspan_{name}_thing differs from the model and its policy"
        for name in expected
    ] == (_shown(database.problems(changed)))


def test_missing_tables_are_reported(database: Staged, thing: StagedTable) -> None:
    """A missing audited table is reported, and a missing staging table."""
    database.run("DROP TABLE thing")
    first = database.problems(thing)
    database.run("DROP TABLE audit_change")
    assert (
        ["table thing does not exist: create it, then recreate the triggers"],
        ["table audit_change does not exist: create the audit tables"],
    ) == (first, database.problems(thing))


def test_making_the_triggers_again_changes_nothing(database: Staged, thing: StagedTable) -> None:
    """The statements can be executed again, and removal leaves no function."""
    dialect = database.engine.dialect
    database.run(*trigger_statements(thing, dialect))
    problems = database.problems(thing)
    database.run(*trigger_removal(thing, dialect), *trigger_removal(thing, dialect))
    database.run(*staging_removal(thing.staging, dialect))
    with database.engine.connect() as connection:
        left = connection.exec_driver_sql(
            "SELECT proname FROM pg_proc WHERE starts_with(proname, 'auditspan_')"
        ).all()
    assert ([], []) == (problems, left)


def test_functions_of_long_names_differ() -> None:
    """Names of functions take at most 63 bytes and differ where tables do."""
    staging, dialect = _thing("audit_change"), create_engine("postgresql+psycopg://").dialect
    tables = [
        _thing("x" * 63),
        _thing("x" * 62 + "y"),
        _thing("\u00e9" * 31),
        _thing("c", "a_b"),
        _thing("b_c", "a"),
    ]
    names = {
        function.name
        for table in tables
        for function in functions_of(StagedTable(table=table, staging=staging), dialect)
    }
    assert (10, True) == (len(names), all(len(name.encode()) <= 63 for name in names))
