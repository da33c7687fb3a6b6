"""Changes: what a body shows of a create, an update and a delete."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditspan.errors import AuditBodyError
from auditspan.format.canonical import canonical_json
from auditspan.format.diff import canonical_changes

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "0", "1", "true"])
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.just("a"), SCALARS)
ROWS = st.fixed_dictionaries(dict.fromkeys("abc", VALUES))


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
