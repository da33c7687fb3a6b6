"""PostgreSQL goes away and comes back."""

from __future__ import annotations

import random
import time

import httpx
import pytest

from faults.conftest import Figures
from faults.counts import Counts
from faults.load import Load
from faults.oracle import require_whole
from faults.place import Place
from support.cluster import Cluster
from support.patience import promised

pytestmark = pytest.mark.timeout(900)

BACK_SECONDS = promised(10)
UNAVAILABLE = 503
LOGGED_BYTES = 1000
"""Of a refusal; a stack trace for each would be ten times as much, and fill a disk."""


def first_made_after(load: Load, moment: float) -> float:
    """Seconds from a moment to the first answer after it that acknowledges a change."""
    load.await_made(1)
    return (
        min(one.at for one in load.answers if one.at > moment and 200 <= one.status < 300) - moment
    )


def require_problem(answer: httpx.Response) -> None:
    """It says when to come again, and in the one shape of every error."""
    assert UNAVAILABLE == answer.status_code
    assert "application/problem+json" == answer.headers["Content-Type"]
    assert int(answer.headers["Retry-After"]) > 0


def require_refusals(place: Place) -> None:
    """What is answered while the database is away."""
    with place.client() as client:
        assert httpx.codes.OK == client.get("/healthz").status_code
        require_problem(client.get("/readyz"))
        require_problem(client.get("/v1/users"))
        require_problem(client.get("/v1/audit-events"))
        require_problem(client.post("/v1/users", json={"username": "nobody"}))


def test_only_503_while_it_is_away(
    place: Place, cluster: Cluster, counts: Counts, chance: random.Random, figures: Figures
) -> None:
    """Stopped immediately, under load: nothing but 503 meanwhile, and served again at once."""
    service, worker = place.service(), place.worker()
    waits = []
    with Load(place) as load:
        for _ in range(counts.restarts):
            load.await_made(20)
            time.sleep(chance.uniform(0, 1))
            cluster.crash()
            require_refusals(place)
            time.sleep(chance.uniform(0, 2))
            cluster.start()
            waits.append(first_made_after(load, time.monotonic()))
    assert {UNAVAILABLE} == {status for status in load.statuses if not 200 <= status < 300}
    assert worker.running
    assert service.log.stat().st_size <= LOGGED_BYTES * len(load.answers)
    arrived = require_whole(place, load)
    assert max(waits) <= BACK_SECONDS
    figures(
        restarts=counts.restarts, changes=len(load.made), refused=len(load.refused),
        in_doubt=len(load.in_doubt), served_again_after_seconds=round(max(waits), 2),
        all_delivered_after_seconds=round(arrived, 1),
    )  # fmt: skip


def require_only_reads(place: Place) -> None:
    """What is answered while the database takes no writes."""
    with place.client() as client:
        assert httpx.codes.OK == client.get("/healthz").status_code
        assert httpx.codes.OK == client.get("/v1/users").status_code
        require_problem(client.get("/readyz"))
        require_problem(client.post("/v1/users", json={"username": "nobody"}))


def test_only_503_for_changes_while_the_primary_is_demoted(
    place: Place, cluster: Cluster, figures: Figures
) -> None:
    """Reads are served meanwhile, and changes again as soon as it is promoted."""
    place.service()
    worker = place.worker()
    with Load(place) as load:
        load.await_made(20)
        cluster.demote()
        try:
            require_only_reads(place)
        finally:
            cluster.promote()
        wait = first_made_after(load, time.monotonic())
    assert {UNAVAILABLE} == {status for status in load.statuses if not 200 <= status < 300}
    assert worker.running
    require_whole(place, load)
    assert wait <= BACK_SECONDS
    figures(changes=len(load.made), refused=len(load.refused), served_again_after_seconds=wait)
