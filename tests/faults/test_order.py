"""Commits out of order, transactions that stay open, and workers that race."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from auditspan import Actor, audit_context
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp.files import read_logs
from auditspan_service.config import load_settings
from auditspan_service.models import User
from auditspan_service.services import Services, open_services, silent_telemetry
from faults.conftest import Figures
from faults.counts import Counts
from faults.load import Load
from faults.oracle import files, require_whole
from faults.place import Place, await_worker, wait_for
from faults.watch import Watch, p99
from support.patience import promised

pytestmark = pytest.mark.timeout(900)

HELD = 5
LAG_SECONDS = promised(5)
_SEALED = text(
    "SELECT count(*) FROM audit_leaf l JOIN audit_event e ON e.id = l.row_id"
    " WHERE e.actor_type = 'user'"
)
_OF_THE_HELD = text(
    "SELECT count(*) FROM audit_leaf l JOIN audit_event e ON e.id = l.row_id"
    " WHERE e.actor_id = 'held'"
)


@pytest.fixture
def services(place: Place) -> Iterator[Services]:
    """Another application on the same database, in this process."""
    settings = load_settings(data_dir=place.folder, database_url=place.database.url("app"))
    services = open_services(settings, silent_telemetry())
    yield services
    services.database.dispose()


@contextmanager
def held(services: Services, name: str) -> Iterator[Session]:
    """A transaction that has made a user, and commits at the end of the block."""
    with audit_context(actor=Actor.system("held")), services.database.writing() as session:
        session.add(User(username=name))
        session.flush()
        yield session


def count(place: Place, of: object) -> int:
    """How many rows are sealed."""
    with place.superuser.connect() as connection:
        return int(connection.execute(of).scalar_one())  # type: ignore[call-overload]


def test_others_overtake_open_transactions(
    place: Place, services: Services, counts: Counts, figures: Figures
) -> None:
    """What commits meanwhile is sealed at once; what commits last is sealed last, and not missed.

    The open ones have the older ids, and the older transaction ids.
    """
    place.service()
    place.worker()
    before = count(place, _SEALED)
    with Load(place) as load:
        with ExitStack() as opened:
            for number in range(HELD):
                opened.enter_context(held(services, f"held-{number}"))
                load.await_made(counts.overtaking // HELD, seconds=300)
            made = len(load.made)
            wait_for(
                lambda: count(place, _SEALED) - before >= made,
                LAG_SECONDS,
                "rows wait for a transaction that is open",
            )
            assert 0 == count(place, _OF_THE_HELD)
        took = wait_for(lambda: count(place, _OF_THE_HELD) == HELD, LAG_SECONDS, "it was missed")
    require_whole(place, load)
    figures(overtaking=made, open_transactions=HELD, then_sealed_after_seconds=round(took, 2))


def test_idle_transaction_delays_no_sealing(
    place: Place, services: Services, counts: Counts, figures: Figures
) -> None:
    """Rows are sealed and delivered in time while a transaction does nothing for long."""
    place.service()
    place.worker()
    with Watch(place) as watch:
        with Load(place) as load:
            with held(services, "idle"):
                time.sleep(counts.idle_seconds)
            load.await_made(20)
        require_whole(place, load)
    assert 1 == count(place, _OF_THE_HELD)
    lags = watch.lags()
    figures(
        idle_seconds=counts.idle_seconds, changes=len(load.made),
        sealed_p99=round(p99(lags.sealed), 2), delivered_p99=round(p99(lags.delivered), 2),
    )  # fmt: skip
    assert p99(lags.sealed) <= LAG_SECONDS
    assert p99(lags.delivered) <= LAG_SECONDS


def steps_back(place: Place) -> int:
    """How often the first copy of a row came after that of a newer row."""
    numbers = dict.fromkeys(
        int(str(entry.attributes[semconv.SEQUENCE_NUMBER]))
        for entry in read_logs(files(place))
        if semconv.SEQUENCE_NUMBER in entry.attributes
    )
    return sum(later <= earlier for earlier, later in pairwise(numbers))


def test_workers_that_race(
    place: Place, counts: Counts, chance: random.Random, figures: Figures
) -> None:
    """Two at a time, which are killed in turn, again and again: the other takes over in time.

    Copies aside, rows arrive in order. A batch that a killed worker had under way may arrive late,
    once for each kill.
    """
    place.service()
    workers = [place.worker("one"), place.worker("other")]
    lives = Counter(dict.fromkeys(workers, 1))
    with Watch(place) as watch:
        with Load(place) as load:
            for turn in range(counts.racing_kills):
                time.sleep(chance.uniform(1, 3))
                victim = workers[turn % 2]
                victim.kill()
                time.sleep(chance.uniform(0, 0.5))
                victim.start()
                lives[victim] += 1
                await_worker(victim, lives[victim])
            load.await_made(20)
        require_whole(place, load)
    lags = watch.lags()
    figures(
        racing_kills=counts.racing_kills, changes=len(load.made), steps_back=steps_back(place),
        sealed_p99=round(p99(lags.sealed), 2), delivered_p99=round(p99(lags.delivered), 2),
    )  # fmt: skip
    assert steps_back(place) <= counts.racing_kills
    assert p99(lags.sealed) <= LAG_SECONDS
    assert p99(lags.delivered) <= LAG_SECONDS
