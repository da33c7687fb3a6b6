"""Log backends: which one answers at a URL, and its audit records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from auditspan.errors import LogBackendError
from auditspan.storage import AuditTables, UtcText
from auditspan.verify.backends.delivered import Delivered
from auditspan.verify.backends.http import QueryApi
from auditspan.verify.backends.loki import is_loki, read_loki
from auditspan.verify.backends.victorialogs import is_victorialogs, read_victorialogs


def oldest_moment(connection: Connection, tables: AuditTables) -> datetime:
    """Return when the first event of the trail happened; for an empty trail, the present.

    Raises:
        LogBackendError: the stored time was tampered with.
    """
    event = tables.event.c
    first = select(UtcText(event.occurred_at)).order_by(event.occurred_at).limit(1)
    found = connection.execute(first).scalars().first()
    try:
        return datetime.fromisoformat(found) if found else datetime.now(UTC)
    except ValueError:
        raise LogBackendError(
            "the time of the oldest event is invalid, so a backend cannot be asked for it: run "
            "`auditspan verify`"
        ) from None


def read_backend(
    url: str, *, since: datetime, headers: Mapping[str, str] | None = None
) -> Iterator[Delivered]:
    """Yield the audit records that a log backend holds; VictoriaLogs and Loki are recognized.

    Args:
        url: the base URL of its query API, such as ``http://127.0.0.1:9428``.
        since: the time of the oldest record. Loki is asked for this and later ones, VictoriaLogs
            for all.
        headers: headers to send with every request, for example for authorization.

    Raises:
        LogBackendError: the backend cannot be reached, is unknown, or answered incompletely.
    """
    with closing(QueryApi(url, headers or {})) as api:
        if is_victorialogs(api):
            yield from read_victorialogs(api)
        elif is_loki(api):
            yield from read_loki(api, since)
        else:
            raise LogBackendError(
                f"{api.url} is neither VictoriaLogs nor Loki, or it refuses queries: check the URL "
                "and the headers (AUDITSPAN_LOG_BACKEND_HEADERS)"
            )
