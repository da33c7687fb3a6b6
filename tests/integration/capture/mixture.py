"""Steps of random sequences: every way to write, by this program and by another one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import psycopg
from sqlalchemy import (
    Connection,
    Engine,
    delete,
    event,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from auditspan import Actor, audit_context
from auditspan.seal.undrained import Undrained
from integration.capture.ledger import Ledger
from integration.library.models import Player, Seat, Team
from integration.library.shapes import (
    Article,
    City,
    Engineer,
    Node,
    Tag,
    Watcher,
    Worker,
)
from integration.library.test_sequences import Program
from integration.library.test_statements import upsert

ACTORS = ("1", "2", "3")


@contextmanager
def second_program(engine: Engine) -> Iterator[Callable[[str], object]]:
    """Execute SQL by the bare driver, in a transaction of another program's."""
    if engine.dialect.name == "postgresql":
        bare = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(bare, options="-c lock_timeout=10ms") as connection:
            yield connection.execute
        return
    file = sqlite3.connect(str(engine.url.database))
    file.create_function("acting", 0, lambda: "database")
    file.execute("PRAGMA foreign_keys=ON")
    try:
        with file:
            yield file.execute
    finally:
        file.close()


class Mixture(Program):
    """More steps: statements of every kind, changes of the actor, and another program."""

    def __init__(
        self, session: Session, ledger: Ledger, worker: Undrained, stack: ExitStack
    ) -> None:
        super().__init__(session)
        self._ledger, self._worker, self._stack = ledger, worker, stack
        event.listen(session, "after_begin", self._tell_ledger)
        self.switch(0)

    def _tell_ledger(self, _session: object, _begun: object, connection: Connection) -> None:
        self._ledger.act(connection)

    def switch(self, n: int) -> None:
        """Somebody else goes on in the same transaction."""
        actor = ACTORS[n % len(ACTORS)]
        self._stack.enter_context(audit_context(actor=Actor.user(actor)))
        self._ledger.actor = f"user/{actor}"
        if self.session.in_transaction():
            self._ledger.act(self.session.connection())

    def roll_back(self, n: int) -> None:
        super().roll_back(n)
        if self.session.in_transaction():
            self._ledger.act(self.session.connection())  # a rollback has reset it

    def nest(self, n: int) -> None:
        """A savepoint that fails halfway, in another context."""
        with suppress(ZeroDivisionError), self.session.begin_nested():
            self.switch(n)
            self.raw_update(n)
            self.bulk_insert(n)
            if n % 2:
                raise ZeroDivisionError
        self.switch(n + 1)

    def add_family(self, n: int) -> None:
        team = Team(name=self.name(), players=[Player(name=self.name()) for _ in range(n % 4)])
        self.session.add(team)

    def take_player(self, n: int) -> None:
        team = self.pick(Team, n)
        if team and team.players:
            team.players.pop()

    def watch(self, n: int) -> None:
        node = self.pick(Node, n)
        self.session.add(Watcher(node_id=node.id if node else None))

    def hire(self, n: int) -> None:
        self.session.add(Engineer(name=self.name(), field=None if n % 2 else "x"))
        self.session.add(Worker(name=self.name()))

    def train(self, n: int) -> None:
        engineer = self.pick(Engineer, n)
        if engineer:
            engineer.field, engineer.name = f"f{n}", self.name() if n % 2 else engineer.name

    def dismiss(self, n: int) -> None:
        victim = self.pick(Worker, n)
        if victim:
            self.session.delete(victim)

    def found(self, n: int) -> None:
        self.session.flush()
        self._run(f"INSERT INTO country VALUES ('k{n}', 'x') ON CONFLICT DO NOTHING")  # noqa: S608
        self.session.add(City(country=f"k{n}"))

    def move_country(self, n: int) -> None:
        """The key changes, and the database changes it in the cities."""
        self.session.flush()
        code = {"code": f"k{n}-{self.name()}"[:10]}
        self.session.execute(text(f"UPDATE country SET code = :code WHERE code = 'k{n}'"), code)  # noqa: S608
        self.session.expire_all()

    def shift_keys(self, n: int) -> None:
        self.session.flush()
        self.session.execute(update(Seat).values(number=Seat.number + 100 + n))

    def seat(self, n: int) -> None:
        """REPLACE on SQLite, which deletes what is in the way."""
        self.session.flush()
        if self._engine.dialect.name == "sqlite":
            self._run(f"REPLACE INTO seat VALUES ('a', {n}, {n % 2})")  # noqa: S608
            return
        statement = upsert(self.session, Seat).values(row="a", number=n, taken=bool(n % 2))
        changed = {"taken": statement.excluded.taken}
        self.session.execute(
            statement.on_conflict_do_update(index_elements=["row", "number"], set_=changed)
        )

    def raw_insert(self, _n: int) -> None:
        self.session.flush()
        name = {"name": self.name()}
        self.session.execute(text("INSERT INTO team (name) VALUES (:name), (:name)"), name)

    def raw_update(self, n: int) -> None:
        self.session.flush()
        self._run(f"UPDATE article SET in_stock = in_stock + {n} WHERE id > {n}")  # noqa: S608

    def raw_delete(self, n: int) -> None:
        self.session.flush()
        self._run(f"DELETE FROM node WHERE id = (SELECT max(id) - {n} FROM node)")  # noqa: S608

    def raw_unlink(self, n: int) -> None:
        self.session.flush()
        self._run(f"DELETE FROM post_tag WHERE post_id % 3 = {n % 3}")  # noqa: S608
        self.session.expire_all()

    def raw_volatile(self, _n: int) -> None:
        """Nobody can read again which rows these were."""
        self.session.flush()
        self._run("UPDATE tag SET name = name || 'x' WHERE random() > 0.5")

    def raw_many(self, n: int) -> None:
        self.session.flush()
        rows = [{"n": n + one, "id": one} for one in range(4)]
        self.session.execute(text("UPDATE article SET in_stock = :n WHERE id = :id"), rows)

    def core_from_select(self, n: int) -> None:
        self.session.flush()
        query = select(func.lower(Team.name)).where(Team.id % 5 == n % 5).limit(3)
        self.session.execute(insert(Tag).from_select(["name"], query))

    def core_correlated(self, _n: int) -> None:
        self.session.flush()
        counted = select(func.count(Player.id)).where(Player.team_id == Article.key)
        self.session.execute(update(Article).values(stock=counted.scalar_subquery()))

    def core_returning(self, n: int) -> None:
        statement = insert(Team).returning(Team)
        made = self.session.scalars(statement, [{"name": self.name()} for _ in range(n % 4 + 1)])
        made.all()[0].name = self.name()

    def bulk_mappings(self, n: int) -> None:
        """Updates by primary key."""
        keys = self.session.scalars(select(Team.id).limit(n % 4)).all()
        if keys:
            rows = [{"id": key, "name": self.name()} for key in keys]
            self.session.execute(update(Team), rows)

    def bulk_save(self, n: int) -> None:
        self.session.bulk_save_objects([Tag(name=self.name()) for _ in range(n % 3 + 1)])

    def there_and_back(self, n: int) -> None:
        """Two changes of which a replay sees nothing."""
        self.session.flush()
        for sign in "+-":
            self._run(f"UPDATE article SET in_stock = in_stock {sign} 1 WHERE id % 3 = {n % 3}")  # noqa: S608

    def nothing_changes(self, _n: int) -> None:
        self.session.flush()
        self._run("UPDATE team SET name = name")

    def core_delete_returning(self, n: int) -> None:
        self.session.flush()
        self.session.execute(delete(Player).where(Player.id % 4 == n % 4).returning(Player.id))
        self.session.expire_all()

    def core_cte(self, n: int) -> None:
        """A deletion inside of an insertion, which only PostgreSQL knows."""
        self.session.flush()
        if self._engine.dialect.name == "postgresql":
            gone = delete(Tag).where(Tag.id % 6 == n % 6).returning(Tag.name).cte("gone")
            moved = select(gone.c.name + literal("'"))
            self.session.execute(insert(Team).from_select(["name"], moved))
            self.session.expire_all()

    def outside(self, n: int) -> None:
        """Another program writes and commits, and the worker comes by.

        On SQLite, where there is one writer, it waits for the end of the transaction; on
        PostgreSQL it runs beside it, and gives up where it would have to wait.
        """
        if self._engine.dialect.name == "sqlite":
            self.commit(n)
        statements = OUTSIDE[n % len(OUTSIDE)]
        with suppress(sqlite3.Error, psycopg.Error), second_program(self._engine) as execute:
            for statement in statements:
                execute(statement.format(n=n))
        self._worker.record()

    @property
    def _engine(self) -> Engine:
        found = self.session.get_bind()
        return found if isinstance(found, Engine) else found.engine

    def _run(self, statement: str) -> None:
        self.session.connection().exec_driver_sql(statement.replace("%", self._percent))

    @property
    def _percent(self) -> str:
        return "%" if self._engine.dialect.name == "sqlite" else "%%"


OUTSIDE = (
    ["INSERT INTO team (name) VALUES ('outside')", "UPDATE team SET name = 'o{n}'"],
    ["DELETE FROM node WHERE id % 4 = {n} % 4"],
    ["INSERT INTO tag (name) SELECT 'o' || id FROM team WHERE id % 3 = 1"],
    ["SAVEPOINT a", "UPDATE tag SET name = 'lost'", "ROLLBACK TO a", "UPDATE tag SET name = 'o'"],
    ["UPDATE article SET in_stock = in_stock * 2", "UPDATE team SET name = name || '{n}'"],
    ["DELETE FROM post_tag WHERE tag_id % 2 = 0", "UPDATE post SET title = 'o{n}'"],
    ["UPDATE worker SET name = 'o{n}' WHERE id % 2 = 0", "UPDATE engineer SET field = 'o'"],
    ["UPDATE country SET code = code || 'o' WHERE code < 'k5' AND length(code) < 9"],
    ["DELETE FROM seat", "INSERT INTO seat VALUES ('o', {n}, true)"],
)
