"""Times that people give, in options, query parameters and filters."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from auditspan.format import parse_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.5Z", datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-31T12:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_utc_unless_they_have_a_zone(text: str, expected: datetime) -> None:
    """The result is in UTC, as it is stored and compared."""
    parsed = parse_time(text)
    assert (expected, UTC) == (parsed, parsed.tzinfo)


@pytest.mark.parametrize(
    "text",
    [
        *("noon", "", "2026-02-30", "12:00"),
        "0001-01-01T00:00+01:00",  # in UTC this is before the first year
        "9999-12-31T23:59-01:00",
    ],
)
def test_invalid_times_are_value_errors(text: str) -> None:
    """Also a time that has no date in UTC."""
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)
