"""Checks that run while everything is at work find nothing.

After VACUUM FULL, dump and restore, and in other time zones: tests/integration/trust/test_sealing.
"""

from __future__ import annotations

import pytest

from faults.conftest import Figures
from faults.counts import Counts
from faults.load import Load
from faults.oracle import files, require_whole
from faults.place import Place

pytestmark = pytest.mark.timeout(900)


def test_no_false_alarm_while_everything_is_at_work(
    place: Place, counts: Counts, figures: Figures
) -> None:
    """Table, seal, witness and replay agree at every moment, and the files hold nothing unknown."""
    place.service()
    place.worker()
    sizes = set()
    with Load(place, pause=0.2) as load:
        load.await_made(20)
        for _ in range(counts.verifications):
            load.await_made(5)
            verified = place.command(
                "verify", "--json", "--state", "--witness", files(place), role="app"
            )
            assert ([], True) == (verified["findings"], verified["ok"]), verified
            reconciled = place.command("reconcile", "--json", "--files", files(place))
            assert ([], []) == (reconciled["unknown"], reconciled["different"])
            sizes.add(verified["tree_size"])
    require_whole(place, load)
    assert len(sizes) > counts.verifications / 2, "it was not at work"
    figures(verifications=counts.verifications, changes=len(load.made))
