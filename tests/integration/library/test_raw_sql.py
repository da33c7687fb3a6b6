"""SQL as text: what it changes in audited tables is recorded row by row, however it is executed."""

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
    func,
    insert,
    select,
    table,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from auditspan.seal.undrained import Undrained
from integration.library.models import Account, Base, Plain, Player, Team
from integration.library.raw_sql import ADDED, CHANGED, GONE, UPDATE, Change, reads, writes
from integration.library.shapes import Post, Tag, post_tag
from integration.library.test_statements import as_compiled
from integration.library.world import KEY, World, make_world

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
    "way",
    [
        by_session,
        by_driver,
        *(
            pytest.param(way, marks=pytest.mark.slow)
            for way in (by_connection, by_ddl, by_another_session)
        ),
    ],
)


def ddl(sql: str) -> Any:
    """As `DDL()` wants it, to which a percent sign is a parameter."""
    made: Any = DDL
    return made(sql.replace("%", "%%"))


def escaped(sql: str) -> str:
    """As `text()` wants it, to which a colon is a parameter."""
    return sql.replace(":", "\\:")


@pytest.fixture
def world(world: World) -> World:
    """The application with a team that has no player, and a row that is not audited."""
    if world.engine.dialect.name == "postgresql":
        with world.engine.begin() as connection:  # ids that no row has yet
            for name in ("team", "plain"):
                sequence = func.pg_get_serial_sequence(name, "id")
                connection.execute(select(func.setval(sequence, 100)))
    set_up(world, "")
    return world


def set_up(world: World, sql: str) -> None:
    """Put the rows back that a text of SQL expects."""
    with world.unit_of_work() as session:
        for name in ("post_tag", "post", "tag", "player", "team", "plain"):
            session.execute(delete(Base.metadata.tables[name]))
        session.add_all([Team(id=1, name="before"), Plain(id=1, name="plain")])
        session.flush()
        if "player" in sql:
            session.add(Player(name="one", team_id=1))
        if "post_tag" in sql:
            session.add_all([Post(id=1, title="p"), Tag(id=1, name="a"), Tag(id=2, name="b")])
            session.flush()
            session.execute(insert(post_tag).values(post_id=1, tag_id=1))


def changes(world: World, after: int = 0) -> list[Change]:
    """Return the records after so many events, without the primary keys."""
    return [
        (one["action"], {name: value for name, value in one["changes"].items() if name != "id"})
        for one in world.events()[after:]
    ]


@WAYS
def test_each_row_that_sql_changes_is_recorded(world: World, way: Way) -> None:
    """However it is written and sent: exactly the changes of the rows, and their actor."""
    expected = writes(world.engine.dialect.name)
    found = {}
    for sql in expected:
        steps = (sql,) if isinstance(sql, str) else sql
        set_up(world, " ".join(steps))
        before = len(world.rows())
        with world.request(), way(world) as (sender, send):
            for step in steps:
                send(step)
            sender.commit()
        found[sql] = changes(world, before)
    assert expected == found
    assert {"7"} == {one["actor"]["id"] for one in world.events()}
    assert 0 == Undrained(world.engine, world.trail.tables, mac_key=KEY).record()


@WAYS
def test_sql_that_is_rolled_back_leaves_no_record(world: World, way: Way) -> None:
    """Neither in the trail nor among what waits for the worker."""
    before = world.actions()
    for sql in writes(world.engine.dialect.name):
        with world.request(), way(world) as (sender, send):
            for step in (sql,) if isinstance(sql, str) else sql:
                with suppress(SQLAlchemyError):
                    send(step)
            sender.rollback()
    assert before == world.actions()
    assert 0 == Undrained(world.engine, world.trail.tables, mac_key=KEY).record()


@WAYS
def test_sql_that_writes_to_no_audited_table_leaves_no_record(world: World, way: Way) -> None:
    """Reading, locking, explaining, writing elsewhere, and the name of a table in a string."""
    before = world.actions()
    for sql in reads(world.engine.dialect.name):
        with world.request(), way(world) as (sender, send):
            send(sql)
            sender.commit()
    assert before == world.actions()


def test_sql_that_commits_by_itself_is_recorded_by_the_worker(postgresql_engine: Engine) -> None:
    """A raw COMMIT is not seen: its changes are those of the database's role."""
    world = make_world(postgresql_engine)
    with world.unit_of_work() as session:
        session.add(Team(name="before"))
    with world.request(), world.engine.connect() as connection:
        connection.exec_driver_sql(f"BEGIN; {UPDATE}; COMMIT")
        connection.commit()
    assert ["team.create"] == world.actions()
    assert 1 == Undrained(world.engine, world.trail.tables, mac_key=KEY).record()
    assert [CHANGED] == changes(world, after=1)
    assert "database" == world.last()["actor"]["type"]
    world.counts_span_events = False
    world.check()


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE player",
        "DROP TABLE IF EXISTS player",
        "ALTER TABLE team ADD COLUMN more INTEGER",
        "ALTER TABLE team ADD COLUMN more INTEGER DEFAULT 1 NOT NULL",
    ],
)
def test_sql_that_changes_the_schema_leaves_the_capture_as_it_was(world: World, sql: str) -> None:
    """It is not recorded itself, and what is written behind it is."""
    before = len(world.rows())
    with world.unit_of_work() as session:
        session.execute(text(sql))
        session.execute(text(UPDATE))
    with world.unit_of_work() as session:
        session.execute(text("INSERT INTO team (name) VALUES ('new')"))
    assert [CHANGED, ADDED] == changes(world, before)
    world.kinds = {name: kind for name, kind in world.kinds.items() if name != "player"}


EXECUTIONS: dict[str, tuple[Callable[[Any], Any], list[Change]]] = {
    "execute many": (
        lambda s: s.execute(
            text("INSERT INTO team (name) VALUES (:name)"), [{"name": "new"}, {"name": "new"}]
        ),
        [ADDED, ADDED],
    ),
    "scalars": (lambda s: s.scalars(text(f"{UPDATE} RETURNING id")).all(), [CHANGED]),
    "typed columns": (
        lambda s: s.execute(text(f"{UPDATE} RETURNING id").columns(column("id"))),
        [CHANGED],
    ),
    "from_statement": (
        lambda s: s.scalars(
            select(Team).from_statement(text(f"{UPDATE} RETURNING id, name"))
        ).all(),
        [CHANGED],
    ),
    "query": (
        lambda s: s.query(Team).from_statement(text(f"{UPDATE} RETURNING id, name")).all(),
        [CHANGED],
    ),
    "bound": (
        lambda s: s.execute(text("DELETE FROM team WHERE id = :id").bindparams(id=1)),
        [GONE],
    ),
    "a method of the connection": (
        lambda s: s.connection().scalar(text(f"{UPDATE} RETURNING id")),
        [CHANGED],
    ),
    "streamed": (
        lambda s: s.execute(
            text(UPDATE),
            execution_options={"stream_results": s.get_bind().dialect.name == "sqlite"},
        ),
        [CHANGED],
    ),
    "compiled": (
        lambda s: s.connection().execute(as_compiled(text(UPDATE), s.get_bind())),
        [CHANGED],
    ),
    "no parameters": (
        lambda s: s.connection().exec_driver_sql(UPDATE, execution_options={"no_parameters": True}),
        [CHANGED],
    ),
    "many for the driver": (
        lambda s: s.connection().exec_driver_sql(
            {
                "sqlite": "INSERT INTO team (name) VALUES (?)",
                "postgresql": "INSERT INTO team (name) VALUES (%s)",
            }[s.get_bind().dialect.name],
            [("new",), ("new",)],
        ),
        [ADDED, ADDED],
    ),
}


@pytest.mark.parametrize("name", EXECUTIONS)
def test_sql_is_recorded_in_every_way_to_execute_it(world: World, name: str) -> None:
    """Typed, for objects, many at once, streamed: each leaves the changes of its rows."""
    execute, expected = EXECUTIONS[name]
    before = len(world.rows())
    with world.unit_of_work() as session:
        execute(session)
    assert expected == changes(world, before)


writing = text(f"{UPDATE} RETURNING name").columns(column("name")).cte("writing")


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        select(writing),
        insert(Plain).from_select(["name"], select(writing.c.name)),
        select(Plain).add_cte(writing),
    ],
    ids=["asked", "of an insert elsewhere", "of a query elsewhere"],
)
def test_text_that_writes_in_a_cte_of_a_statement_is_recorded(world: World, statement: Any) -> None:
    """A SELECT or an INSERT elsewhere may carry the text that writes."""
    before = len(world.rows())
    with world.unit_of_work() as session:
        session.execute(statement)
    assert [CHANGED] == changes(world, before)


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
@pytest.mark.parametrize("by", ["session", pytest.param("connection", marks=pytest.mark.slow)])
def test_a_statement_on_another_description_of_an_audited_table_is_recorded(
    world: World, named: Callable[[Engine], Any], verb: str, by: str
) -> None:
    """A Core statement on a table of the same name leaves the changes of its rows."""
    team = named(world.engine)
    statement, expected = {
        "insert": (insert(team).values(name="new"), ADDED),
        "update": (update(team).values(name="changed"), CHANGED),
        "delete": (delete(team), GONE),
    }[verb]
    before = len(world.rows())
    with world.unit_of_work() as session:
        (session if by == "session" else session.connection()).execute(statement)
    assert [expected] == changes(world, before)


def test_a_secret_in_sql_is_redacted(world: World) -> None:
    """Neither what stands in the text nor what is bound to it comes into the body."""
    with world.unit_of_work() as session:
        session.add(Account(owner="kim"))
    with world.unit_of_work() as session:
        session.execute(text("UPDATE account SET password_hash = 'planted', iban = 'planted'"))
        session.execute(
            text("UPDATE account SET password_hash = :password"), {"password": "planted-2"}
        )
        session.execute(text("UPDATE account SET iban = :p /* planted */"), {"p": "planted-3"})
    assert ["account.update"] * 3 == world.actions()[-3:]
    assert [["iban", "password_hash"], ["password_hash"], ["iban"]] == [
        sorted(one["changes"]) for one in world.events()[-3:]
    ]
    assert not [body for body in world.bodies() if "planted" in body]
