"""Random sequences of the application's writes, another program's, and passes of the worker."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from integration.capture.application import Application, make_application
from integration.capture.test_leftovers import work
from integration.capture.test_order import Base, Tag, Word, tagged
from integration.library.world import sqlite_engine_at
from support.replay import Kind, Links, assert_replays

EXAMPLES = [25, pytest.param(200, marks=pytest.mark.slow)]
KINDS = {
    "word": Kind(
        table=Word.__table__,
        links={"tags": Links(table=tagged, parent="word_id", child="tag_id")},
    ),
    "tag": Kind(table=Tag.__table__),
}
STATEMENTS = [
    "INSERT INTO word (id, s) VALUES ({a}, 'v{c}')",
    "INSERT OR REPLACE INTO word (id, s) VALUES ({a}, 'v{c}')",
    "UPDATE word SET s = 'v{c}' WHERE id = {a}",
    "UPDATE word SET n = {c} WHERE id >= {a}",
    "UPDATE word SET s = 'v{c}', n = n + 1",
    "UPDATE word SET id = {b} WHERE id = {a}",
    "DELETE FROM word WHERE id = {a}",
    "INSERT INTO tag VALUES ({b})",
    "DELETE FROM tag WHERE id = {b}",
    "INSERT INTO tagged VALUES ({a}, {b})",
    "INSERT INTO tagged SELECT word.id, tag.id FROM word, tag WHERE tag.id = {b}",
    "DELETE FROM tagged WHERE word_id = {a} AND tag_id = {b}",
    "UPDATE tagged SET tag_id = {b} WHERE word_id = {a}",
]
keys = st.integers(1, 3)
statements = st.builds(
    lambda statement, a, b, c: statement.format(a=a, b=b, c=c),
    st.sampled_from(STATEMENTS),
    keys,
    keys,
    st.integers(0, 99),
)
transactions = st.lists(statements, min_size=1, max_size=3)


@dataclass(frozen=True)
class Writers:
    """The application, and another program on its database."""

    application: Application
    file: Path

    def inside(self, written: list[str]) -> None:
        """The application writes; each statement that fails takes only itself along."""
        with self.application.unit_of_work() as session:
            for statement in written:
                with suppress(SQLAlchemyError), session.begin_nested():
                    session.execute(text(statement))

    def rolled_back(self, written: list[str]) -> None:
        """The application writes, and rolls back what it wrote after a savepoint."""
        with self.application.unit_of_work() as session:
            session.execute(text("UPDATE word SET n = n + 1"))
            savepoint = session.begin_nested()
            with suppress(SQLAlchemyError):
                for statement in written:
                    session.execute(text(statement))
            savepoint.rollback()

    def explicit(self, _written: list[str]) -> None:
        """The application records an event that changes nothing."""
        with self.application.unit_of_work() as session:
            self.application.trail.record(session, "word.exported")

    def outside(self, written: list[str]) -> None:
        """Another program writes, and commits."""
        with closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            for statement in written:
                with suppress(sqlite3.IntegrityError):
                    connection.execute(statement)

    def worker(self, written: list[str]) -> None:
        """The worker comes by, and takes a few of the changes that wait."""
        work(self.application, len(written))


Step = tuple[Callable[[Writers, list[str]], None], list[str]]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *[Writers.inside, Writers.outside] * 2,
                *(Writers.rolled_back, Writers.explicit, Writers.worker),
            ]
        ),
        transactions,
    ),
    min_size=2,
    max_size=12,
)


@pytest.fixture
def application(tmp_path: Path) -> Application:
    """Words and tags under a trail."""
    return make_application(sqlite_engine_at(tmp_path / "application.db"), Base.metadata)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_replay_in_change_order_gives_the_tables(
    application: Application, tmp_path: Path, examples: int
) -> None:
    """However their changes are mixed, and whenever the worker recorded those of the others."""

    @settings(max_examples=examples)
    @given(sequence=steps)
    def sequences(sequence: list[Step]) -> None:
        file, empty = tmp_path / "application.db", tmp_path / "empty.db"
        application.engine.dispose()
        if not empty.exists():
            empty.write_bytes(file.read_bytes())
        file.write_bytes(empty.read_bytes())
        run(application, file, sequence)

    sequences()


def run(application: Application, file: Path, sequence: list[Step]) -> None:
    """Run a sequence on an empty database, and compare its trail with its tables."""
    writers = Writers(application, file)
    for step, written in sequence:
        step(writers, written)
    while work(application):
        pass
    event = application.trail.tables.event
    with application.engine.connect() as connection:
        bodies = connection.scalars(select(event.c.body).order_by(event.c.id)).all()
        assert_replays(connection, bodies, KINDS)
    application.check()
