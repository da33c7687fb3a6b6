"""VictoriaLogs, queried with LogsQL: https://docs.victoriametrics.com/victorialogs/querying/.

The days with records are asked for first, and then the records of each day: a query over the whole
storage could exceed the time that the server allows. An answer that has fewer records than the day
is incomplete, and refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditspan.errors import LogBackendError
from auditspan.telemetry import semconv
from auditspan.verify.backends.delivered import Delivered
from auditspan.verify.backends.http import QueryApi

_QUERY = "/select/logsql/query"
_RECORDS = f'"{semconv.RECORD_ID}":* "{semconv.LOG_RECORD_UID}":*'
"""An event that announces a record has its id, but no `log.record.uid`."""
_DAYS = f"{_RECORDS} | stats by (_time:1d) count() as records"
_FIELDS = f'fields "{semconv.RECORD_ID}", _msg, "{semconv.TRAIL_NAME}"'
_DATE = len("2026-01-01")


def is_victorialogs(api: QueryApi) -> bool:
    """Return True if the backend understands LogsQL."""
    return api.answers(_QUERY, "application/stream+json", query="*", limit="1")


def read_victorialogs(api: QueryApi) -> Iterator[Delivered]:
    """Yield every audit record in the storage.

    Raises:
        LogBackendError: a query failed, or its answer is incomplete.
    """
    for day, expected in _days(api):
        found = 0
        for row in api.lines(_QUERY, query=f"_time:{day}Z {_RECORDS} | {_FIELDS}"):
            found += 1
            yield _record(api, row)
        if found < expected:
            raise LogBackendError(
                f"{api.url} returned {found} of {expected} audit records of {day}: its limits may "
                "be too low; nothing was compared"
            )


def _days(api: QueryApi) -> list[tuple[str, int]]:
    """Return the days that have records, with their numbers, oldest first."""
    try:
        rows = api.lines(_QUERY, query=_DAYS)
        return sorted((row["_time"][:_DATE], int(row["records"])) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected(api, error) from error


def _record(api: QueryApi, row: Any) -> Delivered:  # noqa: ANN401 (any JSON)
    try:
        return Delivered(row[semconv.RECORD_ID], row.get("_msg"), row.get(semconv.TRAIL_NAME))
    except (AttributeError, KeyError, TypeError) as error:
        raise _unexpected(api, error) from error


def _unexpected(api: QueryApi, error: Exception) -> LogBackendError:
    return LogBackendError(f"the answer of {api.url} is not that of VictoriaLogs: {error!r}")
