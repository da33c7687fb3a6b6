"""kill -9 of service and worker at random instants."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import pytest

from faults.conftest import Figures
from faults.counts import Counts
from faults.load import Load
from faults.oracle import require_whole
from faults.place import Place, wait_for
from support.patience import PATIENCE
from support.program import Program

pytestmark = pytest.mark.timeout(1800)


VICTIMS = ("service", "worker", "both", "server")


def kill(victim: str, service: Program, worker: Program, chance: random.Random) -> None:
    """Kill it, and start it again where gunicorn does not."""
    if victim == "server":
        wait_for(lambda: service.children() != [], PATIENCE, "gunicorn has started no server")
        with suppress(ProcessLookupError):
            os.kill(chance.choice(service.children()), signal.SIGKILL)
        return
    for program in {"service": [service], "worker": [worker]}.get(victim, [service, worker]):
        program.kill()
        program.start()


def test_nothing_is_lost_or_invented(
    place: Place, counts: Counts, chance: random.Random, figures: Figures
) -> None:
    """What was acknowledged has one row, nothing else has one, and all of it arrives.

    A server is one process of gunicorn's, the service all of them.
    """
    service, worker = place.service(), place.worker()
    started = time.monotonic()
    with Load(place) as load:
        for _ in range(counts.kills):
            load.await_made(1)
            time.sleep(chance.uniform(0, 1.2))
            kill(chance.choice(VICTIMS), service, worker, chance)
        load.await_made(1)
    seconds = time.monotonic() - started
    arrived = require_whole(place, load)
    figures(
        kills=counts.kills, seconds=round(seconds), changes=len(load.made),
        in_doubt=len(load.in_doubt), all_delivered_after_seconds=round(arrived, 1),
    )  # fmt: skip
