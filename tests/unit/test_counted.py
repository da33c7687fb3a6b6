"""Messages say one row, and two rows."""

from __future__ import annotations

from auditspan.format import counted


def test_a_noun_has_the_number_of_its_count() -> None:
    """Only one is singular; irregular plurals are given."""
    assert ["0 rows", "1 row", "2 rows"] == [counted(number, "row") for number in range(3)]
    assert ["1 leaf", "2 leaves"] == [counted(number, "leaf", "leaves") for number in (1, 2)]
