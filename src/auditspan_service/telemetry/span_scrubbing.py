"""Redaction of spans before they are exported.

The instrumentations record more than a span should contain, and have no option to prevent it:

- `url.query`, unredacted (search terms, tokens in a link);
- the address and user agent of the client, which the trail can erase, but no backend of spans;
- an exception's message and stack trace, in which database drivers quote values. The span keeps
  the exception's type; the details are in the log record of the same trace, see `logs`;
- the driver's message as the status of a statement's span, for the same reason;
- request headers, if an operator enables capturing all of them.

They also set a statement's operation to ``SELECT /path/to/the/database``; here it becomes
``SELECT``, as in the semantic conventions.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.semconv.attributes import (
    client_attributes,
    db_attributes,
    error_attributes,
    exception_attributes,
    url_attributes,
    user_agent_attributes,
)
from opentelemetry.trace import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.util.types import AnyValue

_SQL_SCOPE = "opentelemetry.instrumentation.sqlalchemy"
_WITH_QUERY = frozenset({url_attributes.URL_FULL, "http.target", "http.url"})
_LEFT_OUT = frozenset(
    {
        url_attributes.URL_QUERY,
        client_attributes.CLIENT_ADDRESS,
        user_agent_attributes.USER_AGENT_ORIGINAL,
        *("http.client_ip", "http.user_agent", "net.peer.ip"),  # the names before 1.21
    }
)
_HEADERS = ("http.request.header.", "http.response.header.")
_SECRET_WORDS = ("authorization", "cookie", "token", "key", "secret", "password")
_EXCEPTION_KEEPS = frozenset(
    {exception_attributes.EXCEPTION_TYPE, exception_attributes.EXCEPTION_ESCAPED}
)


class ScrubbingExporter(SpanExporter):
    """Exporter that passes on each span after `scrubbed`."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the scrubbed `spans`."""
        return self._exporter.export([scrubbed(span) for span in spans])

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)


class _ScrubbedSpan(ReadableSpan):
    """Copy of a span without sensitive values, and with its counts of dropped items."""

    def __init__(self, span: ReadableSpan) -> None:
        super().__init__(
            name=_name(span),
            context=span.get_span_context(),
            parent=span.parent,
            resource=span.resource,
            attributes=_attributes(span),
            events=[_event(event) for event in span.events],
            links=span.links,
            kind=span.kind,
            status=_status(span),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )
        self._dropped = (span.dropped_attributes, span.dropped_events, span.dropped_links)

    @property
    def dropped_attributes(self) -> int:
        return self._dropped[0]

    @property
    def dropped_events(self) -> int:
        return self._dropped[1]

    @property
    def dropped_links(self) -> int:
        return self._dropped[2]


def scrubbed(span: ReadableSpan) -> ReadableSpan:
    """Return `span` without query strings, clients, secret headers and exception messages."""
    return _ScrubbedSpan(span)


def _attributes(span: ReadableSpan) -> dict[str, AnyValue]:
    kept = {
        name: _value(name, value)
        for name, value in (span.attributes or {}).items()
        if name not in _LEFT_OUT and not _is_secret_header(name)
    }
    if _is_statement(span):
        kept[db_attributes.DB_OPERATION_NAME] = _operation(span)
    return kept


def _value(name: str, value: AnyValue) -> AnyValue:
    return value.partition("?")[0] if name in _WITH_QUERY and isinstance(value, str) else value


def _is_secret_header(name: str) -> bool:
    return name.startswith(_HEADERS) and any(word in name for word in _SECRET_WORDS)


def _event(event: Event) -> Event:
    if event.name != "exception":
        return event
    attributes: Mapping[str, AnyValue] = event.attributes or {}
    kept = {name: value for name, value in attributes.items() if name in _EXCEPTION_KEEPS}
    return Event(event.name, kept, event.timestamp)


def _status(span: ReadableSpan) -> Status:
    """Return the span's status, with an exception's message replaced by its type."""
    types = [
        (event.attributes or {}).get(exception_attributes.EXCEPTION_TYPE)
        for event in span.events
        if event.name == "exception"
    ]
    if not span.status.description or not (types or _is_statement(span)):
        return span.status
    said = types[-1] if types else (span.attributes or {}).get(error_attributes.ERROR_TYPE)
    return Status(span.status.status_code, str(said) if said else None)


def _is_statement(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == _SQL_SCOPE


def _operation(span: ReadableSpan) -> str:
    return span.name.partition(" ")[0]


def _name(span: ReadableSpan) -> str:
    """Return the span's name, without the directory of a SQLite database file."""
    if not _is_statement(span):
        return span.name
    operation, _, database = span.name.partition(" ")
    return f"{operation} {PurePath(database).name}".rstrip()
