"""Changes: what a body shows of a create, an update and a delete."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditspan.errors import AuditBodyError
from auditspan.format.canonical import canonical_json
from auditspan.format.diff import canonical_changes, created, deleted, updated

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "0", "1", "true"])
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.just("a"), SCALARS)
ROWS = st.fixed_dictionaries(dict.fromkeys("abc", VALUES))


@given(ROWS)
def test_a_create_has_every_new_value_and_no_old_one(row: dict[str, Any]) -> None:
    """A create carries every column with `new`, NULLs too, and never `old`."""
    assert {name: {"new": value} for name, value in row.items()} == created(row)


@given(ROWS)
def test_a_delete_has_every_old_value_and_no_new_one(row: dict[str, Any]) -> None:
    """A delete carries every column with `old`, NULLs too, and never `new`."""
    assert {name: {"old": value} for name, value in row.items()} == deleted(row)


@given(ROWS, ROWS)
def test_an_update_has_what_differs_in_the_body(old: dict[str, Any], new: dict[str, Any]) -> None:
    """An update carries exactly the columns whose text in a body differs."""
    expected: Any = {
        name: {"old": old[name], "new": new[name]}
        for name in old
        if canonical_json(old[name]) != canonical_json(new[name])
    }
    found: Any = updated(old, new)
    assert canonical_json(expected) == canonical_json(found)


@pytest.mark.parametrize(
    ("old", "new"),
    [(True, 1), (False, 0), ([True], [1]), ({"a": [False]}, {"a": [0]})],
    ids=repr,
)
def test_true_is_not_one(old: Any, new: Any) -> None:
    """JSON tells true from 1 although Python does not; the change is a change."""
    assert {"a": {"old": old, "new": new}} == updated({"a": old}, {"a": new})


def test_only_the_columns_of_the_new_row_are_compared() -> None:
    """A column that was not read after the change says nothing about a change."""
    assert {"a": {"old": 1, "new": 2}} == updated({"a": 1, "b": 1}, {"a": 2})


NAMES = st.text(st.characters(), max_size=4)
ANY_VALUE = VALUES | st.integers() | st.floats() | st.text(st.characters())
SIDES = st.dictionaries(st.sampled_from(["new", "old", "added"]), ANY_VALUE)


@given(st.dictionaries(NAMES, SIDES, max_size=4))
def test_the_text_of_changes_is_the_canonical_one_or_refused(changes: dict[str, Any]) -> None:
    """The quick way for changes says what `canonical_json` says, and refuses what that refuses."""
    try:
        expected = canonical_json(changes)
    except (AuditBodyError, ValueError, TypeError):
        with pytest.raises((AuditBodyError, ValueError, TypeError)):
            canonical_changes(changes)
    else:
        assert expected == canonical_changes(changes)
