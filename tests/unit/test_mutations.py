"""The places that `make test-mutations` breaks are there, each exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutations.mutation import Mutation
from mutations.places import MUTATIONS
from mutations.trigger_places import TRIGGER_MUTATIONS

LIBRARY = Path(__file__).parents[2] / "src" / "auditspan"
EVERYTHING = [*MUTATIONS, *TRIGGER_MUTATIONS]


@pytest.mark.parametrize("mutation", EVERYTHING, ids=lambda one: one.name)
def test_a_place_to_break_is_there_once(mutation: Mutation) -> None:
    """A mutation that no longer fits would break nothing, or something else."""
    text = (LIBRARY / mutation.path).read_text(encoding="utf-8")
    assert 1 == text.count(mutation.before)


def test_there_are_enough_and_no_two_are_alike() -> None:
    """Each breaks something of its own."""
    assert len(EVERYTHING) >= 60
    assert len({(one.path, one.before, one.after) for one in EVERYTHING}) == len(EVERYTHING)
