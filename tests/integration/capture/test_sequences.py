"""Random sequences that write by every way there is, and a second program between them.

Three oracles, none of which knows what was done: the trail replays to the live tables; plain
triggers have counted the same changes by the same actors; what the application wrote, and only
that, has been announced.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Engine,
    Table,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from auditspan import AuditError
from auditspan.seal.undrained import Undrained
from auditspan.telemetry import semconv
from integration.capture.ledger import Entries, Ledger
from integration.capture.mixture import Mixture, second_program
from integration.library.models import KINDS, Base
from integration.library.shapes import (
    SHAPES,
)
from integration.library.test_sequences import Program
from integration.library.world import KEY, make_world
from support.replay import Replay, live_tables

EXAMPLES = [50, pytest.param(500, marks=pytest.mark.slow)]
SCALE = float(os.environ.get("AUDITSPAN_SEQUENCES", "1"))
"""How many times as many."""

COUNTED = ("team", "player", "article", "node", "watcher", "tag", "country", "city")
"""Tables of which one row is one record; those of links and parts are only replayed."""

ROOM = 150
"""Rows, beyond which the tables are cleared."""

COMPARED = (*COUNTED, "post", "worker", "engineer", "seat")


def _steps(kind: type) -> set[str]:
    return {name for name in vars(kind) if name not in {"name", "pick"} and name[0] != "_"}


STEPS = sorted(_steps(Program) | _steps(Mixture))
SEQUENCES = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 11)), min_size=4, max_size=24)
ENDINGS = st.sampled_from(["commit", "commit", "rollback", "close"])


class Oracle:
    """An application, and what is known of it."""

    def __init__(self, engine: Engine) -> None:
        self.world = make_world(engine)
        Base.metadata.create_all(engine)
        self.kinds = {name: (KINDS | SHAPES)[name] for name in COMPARED}
        tables = (self.kinds[name].table for name in COUNTED)
        self.ledger = Ledger(engine, [table for table in tables if isinstance(table, Table)])
        self.replay = Replay(kinds=self.kinds)
        self.worker = Undrained(engine, self.world.trail.tables, mac_key=KEY)
        self.seen = 0
        self.failure: Exception | None = None

    def check(self) -> None:
        """Compare what is new with the tables, with the ledger and with the spans.

        What has failed once is as it was: Hypothesis repeats a failure, and the database goes on.
        """
        if self.failure is not None:
            raise self.failure
        try:
            self._check()
        except Exception as failure:
            self.failure = failure
            raise

    def _check(self) -> None:
        bodies = self._new_bodies()
        replayed = self.replay.play(bodies)
        with self.world.engine.connect() as connection:
            live = live_tables(connection, self.kinds)
        assert live == {name: self._shown(name, rows) for name, rows in replayed.items()}
        events = [json.loads(body) for body in bodies]
        assert self.ledger.take() == _entries(events)
        self._check_announced({e["event_id"] for e in events if e["actor"]["type"] != "database"})
        if sum(map(len, live.values())) > ROOM:
            self._clear()

    def _check_announced(self, by_application: set[str]) -> None:
        attributes = [dict(one.attributes or {}) for one in self.world.span_events()]
        named = [one[semconv.RECORD_ID] for one in attributes if semconv.RECORD_ID in one]
        left_out = sum(int(str(one.get(semconv.TRUNCATED_COUNT, 0))) for one in attributes)
        assert len(by_application) == len(named) + left_out
        assert len(set(named) & by_application) == len(named)
        self.world.exporter.clear()

    def _clear(self) -> None:
        """Delete all rows, as another program."""
        with second_program(self.world.engine) as execute:
            execute("UPDATE node SET parent_id = NULL")
            for table in reversed(Base.metadata.sorted_tables):
                if not table.name.startswith("audit_"):
                    execute(f"DELETE FROM {table.name}")  # noqa: S608
        while self.worker.take():
            pass

    def _new_bodies(self) -> list[str]:
        table = self.world.trail.tables.event
        query = select(table.c.id, table.c.body).where(table.c.id > self.seen).order_by(table.c.id)
        with self.world.engine.connect() as connection:
            rows = connection.execute(query).all()
        self.seen = rows[-1].id if rows else self.seen
        return [row.body for row in rows]

    def _shown(self, name: str, rows: dict[str, Any]) -> dict[str, Any]:
        hidden = self.kinds[name].hidden
        return {
            key: {column: value for column, value in row.items() if column not in hidden}
            for key, row in rows.items()
        }


def _entries(events: list[dict[str, Any]]) -> Entries:
    named = ((*e["action"].split("."), _actor(e["actor"])) for e in events)
    return Counter(one for one in named if one[0] in COUNTED)


def _actor(actor: dict[str, Any]) -> str:
    return actor["type"] if actor["type"] == "database" else f"{actor['type']}/{actor['id']}"


def run(oracle: Oracle, sequence: list[tuple[str, int]], ending: str) -> None:
    """Run a sequence; what SQLAlchemy or the trail refuses ends its transaction, as it would."""
    with ExitStack() as stack:
        stack.enter_context(oracle.world.request())
        session = stack.enter_context(oracle.world.sessions())
        machine = Mixture(session, oracle.ledger, oracle.worker, stack)
        for step, n in sequence:
            try:
                getattr(machine, step)(n)
            except (SQLAlchemyError, AuditError):
                machine.savepoints.clear()
                machine.session.rollback()
        with suppress(SQLAlchemyError):
            getattr(machine.session, ending)()


@pytest.fixture
def oracle(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Oracle:
    """An application under a trail, beside a ledger."""
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "100000")
    return Oracle(engine)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_mixture_of_writes_is_recorded_once(oracle: Oracle, examples: int) -> None:
    """Random sequences on each database, each going on where the last ended."""
    count = int(examples * SCALE)

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(sequence=SEQUENCES, ending=ENDINGS)
    def sequences(sequence: list[tuple[str, int]], ending: str) -> None:
        run(oracle, sequence, ending)
        oracle.check()

    sequences()
    assert oracle.seen > count
