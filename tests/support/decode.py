"""Reading values back from a body, written from the format and not from the code."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

_DURATION = re.compile(
    r"(?P<sign>[-+]?)P(?:(?P<days>-?\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:\.(?P<part>\d{1,6}))?S)?)?"
)


def decode(value: Any) -> Any:
    """The JSON value that stands in a body as `value`."""
    if isinstance(value, dict):
        if set(value) == {"$json"}:
            return json.loads(value["$json"])
        return {key: decode(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [decode(inner) for inner in value]
    return value


def parse_duration(text: str) -> timedelta:
    """The interval of an ISO 8601 duration, exact to the microsecond."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"no ISO 8601 duration: {text}")
    size = timedelta(
        days=int(match["days"] or 0),
        hours=int(match["hours"] or 0),
        minutes=int(match["minutes"] or 0),
        seconds=int(match["seconds"] or 0),
        microseconds=int((match["part"] or "0").ljust(6, "0")),
    )
    return -size if match["sign"] == "-" else size
