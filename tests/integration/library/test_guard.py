"""The guard: SQL as text that writes to an audited table is refused, or recorded as a statement.

What reads is nobody's business. A case is a statement, or several where a driver takes several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import (
    DDL,
    Engine,
    MetaData,
    Table,
    column,
    delete,
    insert,
    select,
    table,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from auditspan import AuditConfigError, UnauditedWriteError, audit_context
from integration.library.models import Account, Plain, Player, Team
from integration.library.test_statements import as_compiled
from integration.library.world import KIM, World, make_world

SET = "SET name = 'changed'"
UPDATE = f"UPDATE team {SET}"
MERGE = "MERGE INTO team USING plain ON team.id = plain.id"

#: What writes on both databases.
WRITES = [
    UPDATE,
    f"update TEAM {SET} where id = 1",
    f'UPDATE "team" {SET}',
    f"UPDATE team AS t {SET}",
    f"\n\t UPDATE\n\tteam\n\t{SET} ; ",
    "INSERT INTO team (name) VALUES ('new')",
    "INSERT INTO team (name) SELECT name FROM plain",
    "INSERT INTO team (id, name) VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET name = 'changed'",
    "INSERT INTO team AS t (name) VALUES ('new')",
    "DELETE FROM team",
    "DELETE FROM team WHERE id IN (SELECT id FROM plain)",
    f"{UPDATE} FROM plain WHERE plain.id = team.id",
    f"/* a comment */ -- and another\n UPDATE /* here */ team -- there\n {SET}",
    f"-- SELECT 1 \n{UPDATE}",
    f"/* it's one */ {UPDATE} /* isn't it */",
    f"UPDATE/**/team/**/{SET}",
    f"WITH one AS (SELECT 1 AS id) {UPDATE} WHERE id IN (SELECT id FROM one)",  # noqa: S608 (no input)
    "WITH one AS (SELECT 'new' AS name) INSERT INTO team (name) SELECT name FROM one",
    "WITH RECURSIVE one AS (SELECT 1 AS id) DELETE FROM team WHERE id IN (SELECT id FROM one)",
    f"WITH team2 AS (SELECT 'it''s; -- \" /*' AS x) {UPDATE}",
    f"{UPDATE} RETURNING id",
    "DROP TABLE player",
    "DROP TABLE IF EXISTS player",
    "ALTER TABLE team ADD COLUMN more INTEGER",
    "ALTER TABLE team RENAME TO other",
    "ALTER TABLE team RENAME COLUMN name TO title",
    "DELETE FROM player",
    "DELETE FROM post_tag",
    "INSERT INTO post_tag (post_id, tag_id) SELECT 1, 1 WHERE false",
    f"SELECT 'not here' AS \"UPDATE plain\" WHERE false; {UPDATE}",
]

SQLITE = [
    "REPLACE INTO team (id, name) VALUES (1, 'new')",
    "INSERT OR REPLACE INTO team (id, name) VALUES (1, 'new')",
    f"UPDATE OR IGNORE team {SET}",
    f"UPDATE [team] {SET}",
    f"UPDATE `team` {SET}",
    f"UPDATE 'team' {SET}",
    f"UPDATE main.team {SET}",
    f'UPDATE "main" . "team" {SET}',
    f"UPDATE [main].[Team] {SET}",
    f"/* /* no second one */ {UPDATE}",
    "WITH one AS (SELECT 1) REPLACE INTO team (id, name) VALUES (1, 'new')",
    "CREATE TRIGGER t AFTER INSERT ON plain BEGIN UPDATE team SET name = 'changed'; END",
    "ALTER TABLE plain RENAME TO other; DELETE FROM team",
]

POSTGRESQL = [
    "TRUNCATE player",
    "TRUNCATE TABLE ONLY public.player RESTART IDENTITY CASCADE",
    "TRUNCATE plain, player",
    "TRUNCATE plain, public.team CASCADE",
    f"UPDATE public.team {SET}",
    f'UPDATE "public" . "team" {SET}',
    f"UPDATE ONLY team {SET}",
    f"UPDATE ONLY (team) {SET}",
    f"UPDATE team * {SET}",
    f'UPDATE U&"t\\0065am" {SET}',
    f"UPDATE U&\"t!0065am\" UESCAPE '!' {SET}",
    f"/* one /* in one */ */ {UPDATE}",
    f"SELECT 1; {UPDATE}",
    f"BEGIN; {UPDATE}; COMMIT",
    f"SELECT '\\'; {UPDATE} --'",
    f"SELECT E'it\\'s'; {UPDATE} --'",
    f"SELECT $$ ' $$; {UPDATE} -- '",
    f"SELECT $a$ $b$ ' $a$; {UPDATE} -- $b$ '",
    f"SELECT 1 AS a$a$; {UPDATE}; SELECT 1 AS b$a$",
    f"WITH moved AS ({UPDATE} RETURNING id) SELECT * FROM moved",  # noqa: S608 (no input)
    "WITH gone AS (DELETE FROM team RETURNING name) INSERT INTO plain (name) SELECT name FROM gone",
    "WITH b AS MATERIALIZED (INSERT INTO team (name) VALUES ('x') RETURNING id) SELECT * FROM b",
    f"{MERGE} WHEN MATCHED THEN UPDATE SET name = 'changed' WHEN NOT MATCHED THEN DO NOTHING",
    "MERGE INTO ONLY public.team t USING plain p ON t.id = p.id WHEN MATCHED THEN DELETE",
    "COPY team (id, name) FROM '/dev/null'",
    "COPY public.team FROM PROGRAM 'true'",
    f"COPY ({UPDATE} RETURNING id) TO '/dev/null'",
    f"EXPLAIN ANALYZE {UPDATE}",
    f"EXPLAIN (ANALYZE, BUFFERS OFF) {UPDATE}",
    f"PREPARE later AS {UPDATE}",
    f"DO $$ BEGIN {UPDATE}; END $$",
    "DO LANGUAGE plpgsql 'BEGIN UPDATE team SET name = ''changed''; END'",
    f"CREATE TABLE copied AS WITH a AS ({UPDATE} RETURNING id) SELECT * FROM a",  # noqa: S608 (no input)
    f"CREATE RULE r AS ON INSERT TO plain DO ALSO {UPDATE}",
    "DROP TABLE plain, public.player",
    "ALTER TABLE IF EXISTS ONLY public.team DROP COLUMN name",
]

#: What does not write to an audited table, and may not be refused.
READS = [
    "SELECT * FROM team",
    "SELECT 'UPDATE team SET name = 1; DELETE FROM team'",
    "SELECT name AS \"DELETE FROM team\" FROM plain -- UPDATE team SET name = 'x'",
    "SELECT 'it''s' /* ; DELETE FROM team */ AS x",
    "WITH t AS (SELECT * FROM team) SELECT * FROM t",
    f"EXPLAIN {UPDATE}",
    "EXPLAIN SELECT * FROM team",
    "INSERT INTO plain (name) SELECT name FROM team",
    "INSERT INTO plain (name) VALUES ('DELETE FROM team')",
    "INSERT INTO plain (name) VALUES ('x; UPDATE team SET name = 1')",
    "WITH t AS (SELECT name FROM team) INSERT INTO plain (name) SELECT name FROM t",
    "UPDATE plain SET name = 'x' WHERE name IN (SELECT name FROM team)",
    "UPDATE plain SET name = team.name FROM team WHERE team.id = plain.id",
    "DELETE FROM plain WHERE id IN (SELECT id FROM team)",
    "SELECT replace(name, 'a', 'b'), \"update\" FROM (SELECT name, 1 AS \"update\" FROM team) AS x",
    "CREATE TEMPORARY TABLE mine AS SELECT * FROM team",
    "CREATE TABLE teams (id INTEGER)",
    "SAVEPOINT team",
]
SQLITE_READS = [
    f"EXPLAIN QUERY PLAN {UPDATE}",
    "REPLACE INTO plain (id, name) SELECT id, name FROM team",
    "PRAGMA table_info(team)",
]
POSTGRESQL_READS = [
    "SELECT * FROM team FOR UPDATE",
    "SELECT * FROM team FOR NO KEY UPDATE OF team SKIP LOCKED",
    "LOCK TABLE team IN SHARE MODE",
    "SELECT $$ UPDATE team SET name = 'x' $$",
    "SELECT E'\\'; UPDATE team SET name = ''x''; --'",
    "SELECT $a$ ; DELETE FROM team; $b$ $a$",
    "/* one /* in one */ DELETE FROM team */ SELECT 1",
    "EXPLAIN ANALYZE SELECT * FROM team FOR UPDATE",
    "DELETE FROM plain USING team WHERE team.id = plain.id",
    "MERGE INTO plain USING team ON team.id = plain.id WHEN MATCHED THEN UPDATE SET name = 'x'",
    "COPY team TO '/dev/null'",
    "COPY (SELECT * FROM team) TO '/dev/null'",
    "COPY plain FROM '/dev/null'",
    "TRUNCATE plain",
]

Way = Callable[[World], AbstractContextManager["Sender"]]
Sender = tuple[Any, Callable[[str], Any]]
"""A session or connection, and how it is given a statement."""


@contextmanager
def by_session(world: World) -> Iterator[Sender]:
    with world.sessions() as session:
        yield session, lambda sql: session.execute(text(escaped(sql)))


@contextmanager
def by_connection(world: World) -> Iterator[Sender]:
    with world.engine.connect() as connection:
        yield connection, lambda sql: connection.execute(text(escaped(sql)))


@contextmanager
def by_driver(world: World) -> Iterator[Sender]:
    with world.engine.connect() as connection:
        yield connection, connection.exec_driver_sql


@contextmanager
def by_ddl(world: World) -> Iterator[Sender]:
    with world.engine.connect() as connection:
        yield connection, lambda sql: connection.execute(ddl(sql))


@contextmanager
def by_another_session(world: World) -> Iterator[Sender]:
    with Session(world.engine) as session:
        yield session, lambda sql: session.connection().exec_driver_sql(sql)


WAYS = pytest.mark.parametrize(
    "way", [by_session, by_connection, by_driver, by_ddl, by_another_session]
)


def ddl(sql: str) -> Any:
    """As `DDL()` wants it, to which a percent sign is a parameter."""
    made: Any = DDL
    return made(sql.replace("%", "%%"))


def escaped(sql: str) -> str:
    """As `text()` wants it, to which a colon is a parameter."""
    return sql.replace(":", "\\:")


def tables(engine: Engine) -> dict[str, Any]:
    """The tables with their columns and rows."""
    read = MetaData()
    read.reflect(engine)
    with engine.connect() as connection:
        return {
            name: (
                [(one.name, str(one.type)) for one in found.columns],
                sorted(str(row) for row in connection.execute(select(found))),
            )
            for name, found in read.tables.items()
        }


@pytest.fixture
def world(world: World) -> World:
    """The application with a team that has a player."""
    with world.unit_of_work() as session:
        session.add(Team(name="before", players=[Player(name="one")]))
        session.add(Plain(name="plain"))
    return world


@pytest.fixture
def lenient(world: World) -> World:
    """The same application where it is not strict; what is not captured is not replayed."""
    made = make_world(world.engine, strict=False)
    made.counts_span_events = world.counts_span_events = False
    made.kinds = world.kinds = {
        name: kind for name, kind in world.kinds.items() if name not in {"team", "player"}
    }
    return made


def writes(dialect: str) -> list[str]:
    """The statements that write on this database."""
    return WRITES + {"sqlite": SQLITE, "postgresql": POSTGRESQL}[dialect]


def reads(dialect: str) -> list[str]:
    """The statements that read on this database."""
    return READS + {"sqlite": SQLITE_READS, "postgresql": POSTGRESQL_READS}[dialect]


def outcomes(world: World, way: Way, statements: list[str]) -> list[tuple[str, str]]:
    """What became of each statement, in a transaction of its own that is rolled back."""
    found = []
    for sql in statements:
        with world.request(), way(world) as (sender, send):
            try:
                send(sql)
            except (UnauditedWriteError, SQLAlchemyError) as error:
                found.append((sql, type(error).__name__))
            else:
                found.append((sql, "passed"))
            sender.rollback()
    return found


@WAYS
def test_sql_that_writes_to_an_audited_table_is_refused_before_it_runs(
    world: World, way: Way
) -> None:
    """However it is written and whoever sends it: an error, nothing changed, no row."""
    before = tables(world.engine)
    found = outcomes(world, way, writes(world.engine.dialect.name))
    assert [] == [one for one in found if one[1] != "UnauditedWriteError"]
    assert before == tables(world.engine)


@WAYS
def test_sql_that_writes_to_no_audited_table_is_not_refused(world: World, way: Way) -> None:
    """Reading, locking, explaining, writing elsewhere, and the name of a table in a string."""
    found = outcomes(world, way, reads(world.engine.dialect.name))
    assert [] == [one for one in found if one[1] != "passed"]


def test_the_refusal_says_which_table_and_what_to_do(world: World) -> None:
    """The sentence names the table and the ways out, and shows nothing of the statement."""
    sql = "UPDATE account SET password_hash = 'planted'"
    with (
        pytest.raises(UnauditedWriteError, match=r"(?s)account.*unaudited\(reason") as refusal,
        world.engine.connect() as connection,
    ):
        connection.exec_driver_sql(sql)
    assert "planted" not in str(refusal.value)


def test_a_refused_statement_leaves_its_transaction_as_it_was(world: World) -> None:
    """It did not reach the database: what the session did before can be committed."""
    with world.unit_of_work() as session:
        session.add(Team(name="with it"))
        session.flush()
        with pytest.raises(UnauditedWriteError):
            session.execute(text(UPDATE))
    assert ["team.create", "player.create", "team.create"] == world.actions()


MANY = {
    "execute many": lambda s: s.execute(
        text("INSERT INTO team (name) VALUES (:name)"), [{"name": "a"}, {"name": "b"}]
    ),
    "scalars": lambda s: s.scalars(text(f"{UPDATE} RETURNING id")).all(),
    "typed columns": lambda s: s.execute(text(f"{UPDATE} RETURNING id").columns(column("id"))),
    "from_statement": lambda s: s.scalars(
        select(Team).from_statement(text(f"{UPDATE} RETURNING id, name"))
    ).all(),
    "query": lambda s: s.query(Team).from_statement(text(f"{UPDATE} RETURNING id, name")).all(),
    "bound": lambda s: s.execute(text("DELETE FROM player WHERE id = :id").bindparams(id=1)),
    "a method of the connection": lambda s: s.connection().scalar(text(f"{UPDATE} RETURNING id")),
    "streamed": lambda s: s.execute(
        text(f"{UPDATE} RETURNING id"), execution_options={"stream_results": True}
    ),
    "compiled": lambda s: s.connection().execute(as_compiled(text(UPDATE), s.get_bind())),
    "no parameters": lambda s: s.connection().exec_driver_sql(
        UPDATE, execution_options={"no_parameters": True}
    ),
    "many for the driver": lambda s: s.connection().exec_driver_sql(
        {
            "sqlite": "INSERT INTO team (name) VALUES (?)",
            "postgresql": "INSERT INTO team (name) VALUES (%s)",
        }[s.get_bind().dialect.name],
        [("a",), ("b",)],
    ),
}


@pytest.mark.parametrize("name", MANY)
def test_text_is_refused_in_every_way_to_execute_it(world: World, name: str) -> None:
    """Typed, for objects, many at once, streamed: it is text all the same."""
    before = tables(world.engine)
    with world.request(), world.sessions() as session:
        with pytest.raises(UnauditedWriteError):
            MANY[name](session)
        session.commit()
    assert before == tables(world.engine)


def test_text_that_writes_in_a_cte_of_a_statement_is_refused(postgresql_engine: Engine) -> None:
    """A SELECT or an INSERT elsewhere may carry the text that writes."""
    world = make_world(postgresql_engine)
    with world.unit_of_work() as session:
        session.add(Team(name="before"))
    writing = text(f"{UPDATE} RETURNING name").columns(column("name")).cte("writing")
    for statement in (
        select(writing),
        insert(Plain).from_select(["name"], select(writing.c.name)),
        select(Plain).add_cte(writing),
        select(text("* FROM moved"))
        .prefix_with(text("1) SELECT"), dialect="none")
        .add_cte(writing),
    ):
        with pytest.raises(UnauditedWriteError), world.unit_of_work() as session:
            session.execute(statement)
    world.check()


def lightweight(_engine: Engine) -> Any:
    """`table()`, as migrations have it."""
    return table("team", column("id"), column("name"))


def lightweight_with_schema(engine: Engine) -> Any:
    """The same, in the schema where it is."""
    schema = {"sqlite": "main", "postgresql": "public"}[engine.dialect.name]
    return table("team", column("id"), column("name"), schema=schema)


def reflected(engine: Engine) -> Any:
    """The table as the database describes it."""
    return Table("team", MetaData(), autoload_with=engine)


@pytest.mark.parametrize("named", [lightweight, lightweight_with_schema, reflected])
@pytest.mark.parametrize("verb", ["insert", "update", "delete"])
@pytest.mark.parametrize("by", ["session", "connection"])
def test_another_description_of_an_audited_table_does_not_slip_past(
    world: World, named: Callable[[Engine], Any], verb: str, by: str
) -> None:
    """A Core statement on a table of the same name is captured or refused, never missed."""
    with world.unit_of_work() as session:
        session.execute(delete(Player))
    team = named(world.engine)
    statement = {
        "insert": insert(team).values(name="new"),
        "update": update(team).values(name="changed"),
        "delete": delete(team),
    }[verb]
    with suppress(UnauditedWriteError), world.unit_of_work() as session:
        (session if by == "session" else session.connection()).execute(statement)
    world.check()


#: Statements for whom the rows are told, and the types that these are of.
RECORDED = {
    UPDATE: ["team"],
    "INSERT INTO team (name) VALUES ('new')": ["team"],
    "DELETE FROM player": ["player"],
    "WITH one AS (SELECT 1 AS id) DELETE FROM player WHERE id IN (SELECT id FROM one)": ["player"],
    "ALTER TABLE player ADD COLUMN more INTEGER": ["player"],
}
RECORDED_POSTGRESQL = {
    "TRUNCATE plain, player": ["player"],
    "TRUNCATE team, player CASCADE": ["fan", "player", "team"],
    "WITH gone AS (DELETE FROM player RETURNING id) UPDATE team SET name = 'x'": [
        "player",
        "team",
    ],
    f"DELETE FROM player; {UPDATE}": ["player", "team"],  # noqa: S608 (no input)
    f"{MERGE} WHEN MATCHED THEN UPDATE SET name = 'm'": ["team"],
    "COPY player FROM '/dev/null'": ["player"],
}


def recorded(dialect: str) -> dict[str, list[str]]:
    """The statements and types of this database."""
    return RECORDED | (RECORDED_POSTGRESQL if dialect == "postgresql" else {})


def statements_of(world: World, session: Session, after: int = 2) -> list[Any]:
    """The rows that have come since, as the transaction sees them."""
    table = world.trail.tables.event
    query = select(table).where(table.c.id > after).order_by(table.c.id)
    return list(session.execute(query))


@WAYS
@pytest.mark.parametrize("excuse", ["lenient", "unaudited"])
def test_sql_that_is_let_through_leaves_one_row_for_each_type(
    world: World, lenient: World, way: Way, excuse: str
) -> None:
    """`type.statement`, by whom and why, in the transaction of the statement."""
    used = lenient if excuse == "lenient" else world
    excuses: dict[str, Any] = {"lenient": audit_context, "unaudited": world.trail.unaudited}
    for sql, types in recorded(world.engine.dialect.name).items():
        before = len(world.rows())
        with used.request(), excuses[excuse](reason="month end"), way(used) as (sender, send):
            send(sql)
            sender.commit()
        made = world.events()[before:]
        assert [f"{one}.statement" for one in types] == sorted(one["action"] for one in made), sql
        assert {"month end"} == {one["reason"] for one in made}
        assert {"7"} == {one["actor"]["id"] for one in made}
        assert set(types) == {one["target"]["type"] for one in made}


def test_a_statement_that_is_rolled_back_leaves_no_row(world: World, lenient: World) -> None:
    """The row has the fate of its statement, in a savepoint too."""
    with lenient.request(), lenient.sessions() as session:
        with session.begin_nested() as savepoint:
            session.execute(text(UPDATE))
            assert 1 == len(statements_of(lenient, session))
            savepoint.rollback()
        session.execute(text("DELETE FROM player"))
        session.rollback()
        session.execute(text("DELETE FROM player"))
        session.commit()
    assert ["player.statement"] == world.actions()[2:]
    assert ["audit.player.statement"] == [one.name for one in lenient.span_events()]


@pytest.mark.parametrize("excuse", ["lenient", "unaudited"])
def test_a_statement_that_fails_leaves_no_row(world: World, lenient: World, excuse: str) -> None:
    """What the database refused did not happen, also where the transaction goes on."""
    used = lenient if excuse == "lenient" else world
    with used.request(), used.sessions.begin() as session:
        for _ in range(2):
            with (
                suppress(SQLAlchemyError),
                used.trail.unaudited(reason="x"),
                session.begin_nested(),
            ):
                session.execute(text("UPDATE team SET name = NULL"))
    assert ["team.create", "player.create"] == world.actions()


def test_lenient_a_statement_without_an_actor_is_recorded_as_unknown(
    world: World, lenient: World
) -> None:
    """Nobody said who acts, and the row says so."""
    with lenient.sessions.begin() as session:
        session.execute(text(UPDATE))
    assert ("team.statement", "unknown") == (world.last()["action"], world.last()["actor"]["type"])


def test_a_statement_shows_no_secret(world: World, lenient: World) -> None:
    """Neither what stands in the text nor what is bound to it comes into the body."""
    with world.unit_of_work() as session:
        session.add(Account(owner="kim"))
    with lenient.request(), lenient.sessions.begin() as session:
        session.execute(text("UPDATE account SET password_hash = 'planted', iban = 'planted'"))
        session.execute(
            text("UPDATE account SET password_hash = :password"), {"password": "planted"}
        )
        session.execute(text("UPDATE account SET iban = :p /* planted */"), {"p": "planted"})
    world.kinds = {}
    assert ["account.statement"] * 3 == world.actions()[-3:]
    assert not [body for body in world.bodies() if "planted" in body]


def test_core_statements_are_captured_where_text_is_not(world: World) -> None:
    """`unaudited` is for a block: the same statement before and after it leaves its rows."""
    world.kinds = {name: kind for name, kind in world.kinds.items() if name != "team"}
    with world.unit_of_work() as session:
        session.execute(update(Team).values(name="a"))
        with world.trail.unaudited(reason="too many"):
            session.execute(update(Team).values(name="b"))
            session.execute(text("SELECT count(*) FROM team"))
        session.execute(update(Team).values(name="c"))
    made = world.events()[2:]
    assert ["team.update", "team.statement", "team.update"] == [one["action"] for one in made]
    assert [None, "too many", None] == [one["reason"] for one in made]
    assert {"old": "b", "new": "c"} == made[2]["changes"]["name"]


def test_objects_are_captured_also_where_statements_are_not(world: World) -> None:
    """What the unit of work writes has its row in an `unaudited` block as outside."""
    with world.unit_of_work() as session, world.trail.unaudited(reason="import"):
        session.get_one(Team, 1).name = "changed"
        session.add(Team(name="new"))
        session.flush()
    assert ["team.create", "team.update"] == sorted(world.actions()[2:])


def test_the_way_round_ends_with_its_block(world: World) -> None:
    """Also by an exception, and in a nested block: afterwards the guard is there again."""
    with suppress(ZeroDivisionError), world.trail.unaudited(reason="outer"):
        with world.trail.unaudited(reason="inner"):
            pass
        raise ZeroDivisionError
    with pytest.raises(UnauditedWriteError), world.unit_of_work() as session:
        session.execute(text(UPDATE))


@pytest.mark.parametrize("reason", ["", "  "])
def test_the_way_round_wants_a_reason(world: World, reason: str) -> None:
    """Nobody goes round the trail without saying why."""
    with pytest.raises(AuditConfigError, match="reason"), world.trail.unaudited(reason=reason):
        pass


def test_strict_the_way_round_wants_an_actor(world: World) -> None:
    """The statement row needs to say who, as every row does."""
    with (
        pytest.raises(UnauditedWriteError, match="audit_context"),
        world.trail.unaudited(reason="x"),
        world.sessions.begin() as session,
    ):
        session.execute(text(UPDATE))


def test_an_inner_actor_and_the_innermost_reason_are_recorded(world: World) -> None:
    """Blocks nest; the row takes the one around its statement."""
    world.kinds = {}
    with (
        audit_context(actor=KIM, reason="context"),
        world.trail.unaudited(reason="outer"),
        world.sessions.begin() as session,
    ):
        with world.trail.unaudited(reason="inner"):
            session.execute(text(UPDATE))
        session.execute(text(UPDATE))
    world.counts_span_events = False
    assert ["inner", "outer"] == [event["reason"] for event in world.events()[2:]]
