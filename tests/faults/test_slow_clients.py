"""Two hundred clients that send a byte a second."""

from __future__ import annotations

import pytest

from faults.conftest import Figures
from faults.place import Place
from support.patience import promised
from support.slow import SLOW, SlowClients, seconds_of_answers


@pytest.mark.parametrize("kind", SLOW)
def test_slow_clients_do_not_delay_others(place: Place, figures: Figures, kind: str) -> None:
    """Beside 200 slow clients, which come again when they are closed, `/healthz` takes no second.

    Twenty-five seconds are longer than any deadline: some of the clients have been refused by then.
    """
    place.service()
    port = int(place.url.rpartition(":")[2])
    with SlowClients(port, 200, SLOW[kind]):
        seconds = sorted(seconds_of_answers(port, 50, pause=0.5))
    figures(median_s=seconds[len(seconds) // 2], slowest_s=seconds[-1])
    assert seconds[-1] < promised(1.0)
