"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_time(text: str) -> datetime:
    """Parse a time (ISO 8601) and convert it to UTC; one without a zone is in UTC.

    Raises:
        ValueError: the time is invalid, or out of range in UTC.
    """
    given = datetime.fromisoformat(text)
    try:
        return given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is out of range in UTC") from error
