"""Random sequences of everything that can be done in a transaction, on one session or two.

The oracle needs to know nothing of what was done: after every sequence the trail replays to the
live tables, and exactly the committed rows have been announced.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction

from integration.library.models import Person, Team
from integration.library.shapes import Article, Node, Post, Tag, post_tag
from integration.library.test_statements import upsert
from integration.library.world import World, make_world
from support.replay import Replay, live_tables

EXAMPLES = [
    {"sqlite": 100, "postgresql": 40},
    pytest.param({"sqlite": 500, "postgresql": 150}, marks=pytest.mark.slow),
]
ROOM = 50
"""Rows, beyond which all are deleted: every example reads them all."""
SCALE = float(os.environ.get("AUDITSPAN_SEQUENCES", "1"))
"""How many times as many."""


class Program:
    """Steps on a session; each takes a small number and does something with it, or nothing."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.savepoints: list[SessionTransaction] = []
        self.kept: list[Any] = []
        self.fresh = 0

    def name(self) -> str:
        self.fresh += 1
        return f"n{self.fresh}"

    def pick(self, model: Any, n: int) -> Any:
        found = self.session.scalars(select(model)).all()
        self.kept += found
        return found[n % len(found)] if found else None

    def add(self, n: int) -> None:
        self.session.add_all([Team(name=self.name()) for _ in range(n % 3 + 1)])

    def add_article(self, n: int) -> None:
        self.session.add(Article(code=f"c{n}", stock=n))

    def add_node(self, n: int) -> None:
        parent = self.pick(Node, n)
        self.session.add(Node(parent_id=parent.id if parent else None))

    def add_post(self, n: int) -> None:
        tags = [Tag(name=self.name()) for _ in range(n % 3)]
        self.session.add(Post(title=self.name(), tags=tags))

    def tag(self, n: int) -> None:
        post, tag = self.pick(Post, n), self.pick(Tag, n)
        if post and tag and tag not in post.tags:
            post.tags.append(tag)

    def untag(self, n: int) -> None:
        post = self.pick(Post, n)
        if post:
            post.tags = list(post.tags)[1:]

    def rename(self, n: int) -> None:
        team = self.pick(Team, n)
        if team:
            team.name = self.name()

    def expression(self, n: int) -> None:
        article = self.pick(Article, n)
        if article:
            article.stock = Article.stock + n

    def remove(self, n: int) -> None:
        victim = self.pick([Team, Article, Node, Post, Tag][n % 5], n)
        if victim:
            self.session.delete(victim)

    def expire(self, _n: int) -> None:
        self.session.flush()
        self.session.expire_all()

    def flush(self, _n: int) -> None:
        self.session.flush()

    def bulk_update(self, n: int) -> None:
        statement = update(Team).where(Team.id % 3 == n % 3).values(name=func.upper(Team.name))
        self.session.execute(statement)

    def bulk_rename(self, n: int) -> None:
        self.session.execute(update(Article).values(stock=n))

    def bulk_delete(self, n: int) -> None:
        self.session.execute(delete(Team).where(Team.id % 4 == n % 4))

    def bulk_delete_nodes(self, n: int) -> None:
        self.session.execute(delete(Node).where(Node.id % 5 == n % 5))

    def bulk_insert(self, n: int) -> None:
        self.session.execute(insert(Team), [{"name": self.name()} for _ in range(n % 4 + 1)])

    def bulk_upsert(self, n: int) -> None:
        statement = upsert(self.session, Article).values(
            [{"articleCode": f"c{i}", "in_stock": n + i} for i in range(n % 3 + 1)]
        )
        self.session.execute(
            statement.on_conflict_do_update(
                index_elements=["articleCode"], set_={"in_stock": statement.excluded.in_stock}
            )
        )

    def bulk_link(self, n: int) -> None:
        self.session.flush()
        if n % 2:
            self.session.execute(delete(post_tag).where(post_tag.c.tag_id % 2 == 0))
            return
        post = self.session.scalar(select(func.max(Post.id)))
        tag = self.session.scalar(select(func.min(Tag.id)))
        if post and tag:
            link = upsert(self.session, post_tag).values(post_id=post, tag_id=tag)
            self.session.execute(link.on_conflict_do_nothing())

    def clash(self, _n: int) -> None:
        with suppress(SQLAlchemyError), self.session.begin_nested():
            self.session.add(Team(name="doomed"))
            self.session.flush()
            self.session.execute(insert(Person), [{"name": "same", "version": 1}] * 2)

    def begin(self, _n: int) -> None:
        self.savepoints.append(self.session.begin_nested())

    def release(self, _n: int) -> None:
        if self.savepoints:
            self.savepoints.pop().commit()

    def roll_back(self, _n: int) -> None:
        if self.savepoints:
            self.savepoints.pop().rollback()

    def commit(self, _n: int) -> None:
        self.savepoints.clear()
        self.session.commit()

    def abandon(self, _n: int) -> None:
        self.savepoints.clear()
        self.session.rollback()


STEPS = sorted(name for name in vars(Program) if name not in {"name", "pick"} and name[0] != "_")
PROGRAMS = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 11)), min_size=4, max_size=24)
ENDINGS = st.sampled_from(["commit", "commit", "rollback", "close"])


class Oracle:
    """Replays what is new in the trail, and compares."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.replay = Replay(kinds=world.kinds)
        self.seen = 0

    def check(self) -> None:
        table = self.world.trail.tables.event
        query = select(table.c.id, table.c.body).where(table.c.id > self.seen).order_by(table.c.id)
        with self.world.engine.connect() as connection:
            rows = connection.execute(query).all()
            replayed = self.replay.play(row.body for row in rows)
            live = live_tables(connection, self.world.kinds)
        hidden = {name: kind.hidden for name, kind in self.world.kinds.items()}
        assert live == {
            name: {
                key: {n: v for n, v in row.items() if n not in hidden[name]}
                for key, row in rows_.items()
            }
            for name, rows_ in replayed.items()
        }
        announced = sorted(self.world.announced())
        assert announced == sorted(json.loads(row.body)["event_id"] for row in rows)
        self.world.exporter.clear()
        self.seen = rows[-1].id if rows else self.seen
        if sum(map(len, live.values())) > ROOM:
            self._clear()

    def _clear(self) -> None:
        """Delete all rows, table by table: a span has at most a hundred events."""
        for table in (post_tag, Post, Tag, Node, Article, Person, Team):
            with self.world.unit_of_work() as session:
                session.execute(delete(table))


def run(
    world: World,
    program: list[tuple[str, int]],
    ending: str,
    kind: type[Program] = Program,
) -> None:
    """Run a program; what the database refuses ends its transaction. The trail refuses nothing."""
    with ExitStack() as stack:
        stack.enter_context(world.request())
        machine = kind(stack.enter_context(world.sessions()))
        for step, n in program:
            try:
                getattr(machine, step)(n)
            except SQLAlchemyError:
                machine.savepoints.clear()
                machine.session.rollback()
        with suppress(SQLAlchemyError):
            getattr(machine.session, ending)()


@pytest.fixture
def oracle(engine: Engine) -> Oracle:
    """An application, and what is known of it."""
    return Oracle(make_world(engine))


# SQLite gives the id of a row that went by a cascade, unseen by the session, to a new one.
@pytest.mark.filterwarnings("ignore:Identity map already had an identity:sqlalchemy.exc.SAWarning")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("examples", EXAMPLES, ids=["few", "many"])
def test_any_sequence_leaves_a_trail_that_replays(oracle: Oracle, examples: dict[str, int]) -> None:
    """Random sequences on each database, each going on where the last ended."""
    count = int(examples[oracle.world.engine.dialect.name] * SCALE)

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(program=PROGRAMS, ending=ENDINGS)
    def sequences(program: list[tuple[str, int]], ending: str) -> None:
        run(oracle.world, program, ending)
        oracle.check()

    sequences()
    assert oracle.seen > count
