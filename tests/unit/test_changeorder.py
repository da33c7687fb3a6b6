"""The order of changes: by change id, and by the row where there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditspan.format.change_order import in_change_order

Rows = list[tuple[int, int | None]]


def ordered(*change_ids: int | None) -> Rows:
    """The rows of these change ids, each with its place in the sequence, in change order."""
    return in_change_order(enumerate(change_ids), lambda row: row[1])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([None, None], [0, 1]),
        ([1, 3, 2], [0, 2, 1]),
        ([1, 3, None, 2], [0, 3, 1, 2]),
        ([1, None, 3, 2, None], [0, 1, 3, 2, 4]),
        ([None, 5, 4], [0, 2, 1]),
    ],
    ids=str,
)
def test_late_records_go_before_newer_changes(rows: list[int | None], expected: list[int]) -> None:
    """A record without a change id follows all that was recorded before it."""
    assert expected == [place for place, _ in ordered(*rows)]


@given(st.lists(st.none() | st.integers(1, 30), max_size=12))
def test_two_records_with_change_ids_are_in_their_order(rows: list[int | None]) -> None:
    """Whatever stands between them, and in whichever order they were recorded."""
    found = [own for _, own in ordered(*rows) if own is not None]
    assert sorted(found) == found


@given(st.lists(st.none() | st.integers(1, 30), max_size=12))
def test_record_without_a_change_id_follows_what_was_recorded_before(
    rows: list[int | None],
) -> None:
    """It happened after all of them, since they were in the trail already."""
    found = ordered(*rows)
    for at, (place, own) in enumerate(found):
        if own is None:
            assert set(range(place)) <= {before for before, _ in found[:at]}
