"""The collector is killed, away, full, or hangs; requests go on."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import text

from faults.conftest import Figures
from faults.counts import Counts
from faults.disk import small_disk
from faults.load import Load
from faults.oracle import ARRIVES_SECONDS, require_delivered, require_whole
from faults.place import Place, placed, wait_for
from integration.sinks.faulty import GOOD, Answer, faulty_collector
from support.cluster import Cluster
from support.patience import promised
from support.roles import deployed_at

pytestmark = pytest.mark.timeout(1200)

SLOWER = 3
"""Times that a request may take at most while the collector has a fault; nothing waits for it."""

NOISE_SECONDS = promised(0.1) - 0.1
"""What the machine does otherwise, which may be more now than before; who waits, waits for ten."""

_SENT = text("SELECT coalesce(max(sent_seq), -1) + 1 FROM audit_delivery")
_SEALED = text("SELECT count(*) FROM audit_leaf")


def ask(place: Place, question: object) -> int:
    """A number from the database."""
    with place.superuser.connect() as connection:
        return int(connection.execute(question).scalar_one())  # type: ignore[call-overload]


def require_no_failure(load: Load) -> None:
    """Every request did what it was to do."""
    assert ([], [], []) == (load.wrong[:3], load.refused[:3], load.in_doubt[:3])


def test_killed_and_restarted(
    place: Place, counts: Counts, chance: random.Random, figures: Figures
) -> None:
    """Killed under load again and again: no request fails, and nothing is missing afterwards."""
    place.service()
    place.worker()
    with Load(place) as load:
        for _ in range(counts.collector_kills):
            load.await_made(20)
            time.sleep(chance.uniform(0, 1))
            place.collector.kill()
            time.sleep(chance.uniform(0, 2))
            place.collector.restart()
        load.await_made(20)
    require_no_failure(load)
    arrived = require_whole(place, load)
    figures(
        collector_kills=counts.collector_kills, changes=len(load.made),
        all_delivered_after_seconds=round(arrived, 1),
    )  # fmt: skip


def test_away_for_a_whole_run(place: Place, counts: Counts, figures: Figures) -> None:
    """Nobody is there to take any of many rows; when somebody is, all of them arrive."""
    place.collector.kill()
    place.service()
    place.worker()
    started = time.monotonic()
    with Load(place, pause=0) as load:
        load.await_made(counts.events, seconds=600)
    seconds = time.monotonic() - started
    require_no_failure(load)
    place.collector.restart()
    arrived = require_delivered(place)
    require_whole(place, load)
    figures(
        events=len(load.made), seconds=round(seconds), all_delivered_after_seconds=round(arrived, 1)
    )


def test_its_disk_is_full(
    cluster: Cluster, tmp_path: Path, collector_bin: Path, figures: Figures
) -> None:
    """Records wait while there is no room for them, and arrive when there is."""
    with (
        small_disk(tmp_path / "disk", megabytes=64) as disk,
        cluster.database() as url,
        deployed_at(url) as database,
        placed(database, disk.folder / "place", collector_bin) as place,
    ):
        place.service()
        place.worker()
        with Load(place) as load:
            load.await_made(20)
            disk.fill()
            load.await_made(200)
            wait_for(lambda: waiting(place) >= 100, ARRIVES_SECONDS, "rows do not wait")
            waited = waiting(place)
            disk.free()
            load.await_made(20)
        require_no_failure(load)
        arrived = require_whole(place, load)
    figures(changes=len(load.made), waiting=waited, all_delivered_after_seconds=round(arrived, 1))


def waiting(place: Place) -> int:
    """How many rows are sealed and not delivered."""
    return ask(place, _SEALED) - ask(place, _SENT)


def middle(load: Load, changes: int) -> float:
    """Seconds that a request takes in the middle, for so many changes from now on."""
    started = time.monotonic()
    load.await_made(changes)
    return median(answer.seconds for answer in load.answers if answer.at > started)


@contextmanager
def hanging(place: Place) -> Iterator[None]:
    """The collector takes connections and answers nothing."""
    os.kill(place.collector.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(place.collector.pid, signal.SIGCONT)


def test_requests_do_not_wait_while_it_hangs(place: Place, figures: Figures) -> None:
    """It holds every connection, that for traces too: requests take as long as before."""
    place.service()
    place.worker()
    with Load(place) as load:
        load.await_made(100)
        before = middle(load, 200)
        with hanging(place):
            time.sleep(1)
            during = middle(load, 600)
        after = middle(load, 200)
    require_no_failure(load)
    arrived = require_whole(place, load)
    figures(
        milliseconds_before=round(before * 1000, 1), milliseconds_during=round(during * 1000, 1),
        all_delivered_after_seconds=round(arrived, 1),
    )  # fmt: skip
    assert during <= SLOWER * max(before, after) + NOISE_SECONDS


def test_requests_do_not_wait_while_it_refuses(place: Place) -> None:
    """Everything is refused: rows wait, none is given up, and all arrive when it takes them."""
    with faulty_collector(lambda _: Answer(status=400)) as collector:
        place.audit_endpoint = collector.url
        place.service()
        place.worker()
        with Load(place) as load:
            load.await_made(200)
            collector.rule = lambda _: Answer(status=503)
            load.await_made(200)
            assert [] == collector.taken
            collector.rule = lambda _: GOOD
        require_no_failure(load)
        rows = ask(place, _SEALED)
        wait_for(lambda: len(set(collector.taken)) >= rows, ARRIVES_SECONDS, "rows are missing")
        assert 0 == ask(place, text("SELECT count(*) FROM audit_quarantine"))
