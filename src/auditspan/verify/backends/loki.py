"""Grafana Loki, queried with LogQL: https://grafana.com/docs/loki/latest/reference/loki-http-api/.

Loki keeps OTLP attributes as structured metadata, with underscores in place of dots, and merges
them into the labels of its answer. It returns at most so many lines, so a day is read in pages: the
next one begins at the time of the last line, and lines that were returned before are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from auditspan.errors import LogBackendError
from auditspan.telemetry import semconv
from auditspan.verify.backends.delivered import Delivered
from auditspan.verify.backends.http import QueryApi

_QUERY = "/loki/api/v1/query_range"
_LABELS = "/loki/api/v1/labels"
_LIMIT = 5000
"""The most lines that a query returns with Loki's own limits."""

_RECORD_ID = semconv.RECORD_ID.replace(".", "_")
_TRAIL_NAME = semconv.TRAIL_NAME.replace(".", "_")
_UID = semconv.LOG_RECORD_UID.replace(".", "_")
_RECORDS = f'{{service_name=~".+"}} | {_RECORD_ID} != "" | {_UID} != ""'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def is_loki(api: QueryApi) -> bool:
    """Return True if the backend has Loki's API."""
    return api.answers(_LABELS, "application/json")


def read_loki(api: QueryApi, since: datetime) -> Iterator[Delivered]:
    """Yield every audit record that happened since then.

    Raises:
        LogBackendError: a query failed, or more records have one time than an answer may hold.
    """
    start, end = _nanos(since - _DAY), _nanos(datetime.now(UTC) + _DAY)
    while start < end:
        following = min(end, start + _DAY // timedelta(microseconds=1) * 1000)
        yield from _period(api, start, following)
        start = following


def _period(api: QueryApi, start: int, end: int) -> Iterator[Delivered]:
    """Read the pages of a period: from `start` on, before `end`, in nanoseconds since 1970."""
    seen: set[str] = set()
    while lines := _page(api, start, end):
        fresh = [(at, record) for at, record in lines if record.event_id not in seen or at > start]
        yield from (record for _, record in fresh)
        if len(lines) < _LIMIT:
            return
        last = lines[-1][0]
        if last == start:
            raise LogBackendError(
                f"{api.url} holds more than {_LIMIT} audit records of one moment: raise its "
                "max_entries_limit_per_query; nothing was compared"
            )
        start, seen = last, {record.event_id for at, record in lines if at == last}


def _page(api: QueryApi, start: int, end: int) -> list[tuple[int, Delivered]]:
    """Return the first lines of a period, oldest first."""
    document = api.document(
        _QUERY,
        query=_RECORDS,
        start=str(start),
        end=str(end),
        limit=str(_LIMIT),
        direction="forward",
    )
    try:
        streams = document["data"]["result"]
        return sorted((line for stream in streams for line in _lines(stream)), key=_time)
    except (KeyError, TypeError, ValueError) as error:
        raise LogBackendError(f"the answer of {api.url} is not that of Loki: {error!r}") from error


def _lines(stream: dict[str, Any]) -> Iterator[tuple[int, Delivered]]:
    labels = stream["stream"]
    for at, line, *_ in stream["values"]:
        yield int(at), Delivered(labels[_RECORD_ID], line, labels.get(_TRAIL_NAME))


def _time(line: tuple[int, Delivered]) -> int:
    return line[0]


def _nanos(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
