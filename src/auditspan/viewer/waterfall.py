"""Waterfall of a trace: a row for each span and log record, placed on one time line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from auditspan.format import printable
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp import LogEntry, SpanEvent, SpanRecord, Trace, as_json

Kind: TypeAlias = Literal["span", "mark", "log", "heading"]
Item: TypeAlias = SpanRecord | SpanEvent | LogEntry
Pairs: TypeAlias = Sequence[tuple[str, str]]

_NARROWEST = 0.35
"""The width of the narrowest bar, in percent."""

_SEVERITY_ERROR = 17
"""The lowest severity number of an error (OpenTelemetry's data model of logs)."""

_DETAILS = ("db.query.text", "db.statement", "http.response.status_code", "exception.message")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Span event on the bar of its span.

    Attributes:
        left: the place on the time line, in percent.
        record_id: the event id if it points to an audit row, else None.
    """

    name: str
    left: float
    offset_ms: float
    record_id: str | None
    attributes: Pairs


@dataclass(frozen=True, kw_only=True)
class Row:
    """Row of the waterfall.

    Attributes:
        kind: a `mark` is the span event of an audit row.
        left, width: the bar on the time line, in percent; only a span has a width.
        record_id: the event id of the audit row that a mark or log record belongs to, else None.
    """

    kind: Kind
    depth: int = 0
    name: str
    detail: str = ""
    service: str = ""
    offset_ms: float = 0.0
    duration_ms: float = 0.0
    left: float = 0.0
    width: float = 0.0
    is_error: bool = False
    record_id: str | None = None
    marks: Sequence[Mark] = ()
    attributes: Pairs = ()


def waterfall(trace: Trace) -> Iterator[Row]:
    """Yield the rows of a trace, each span followed by what is below it, in time order."""
    line = _Line(trace)
    for root in trace.roots:
        yield from line.below(root)
    for parent, spans in trace.detached.items():
        yield Row(kind="heading", name=f"Parent span {parent} is not in the files")
        for span in spans:
            yield from line.below(span)
    if trace.unplaced:
        yield Row(kind="heading", name="Log records without a span in the files")
        yield from (line.log(one, 0) for one in trace.unplaced)


class _Line:
    """Time line from the earliest span or log record to the latest."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        items: list[Item] = [*trace.spans, *trace.logs]
        self._start = min(map(_begin, items), default=0)
        end = max(map(_end, items), default=self._start)
        self._length = max(1, end - self._start)

    def below(self, root: SpanRecord) -> Iterator[Row]:
        """Yield the row of a span, and the rows of its descendants; without recursion."""
        stack: list[tuple[int, Item]] = [(0, root)]
        while stack:
            depth, item = stack.pop()
            if isinstance(item, LogEntry):
                yield self.log(item, depth)
            elif isinstance(item, SpanRecord):
                yield self._span(item, depth)
                below = self._trace.below[item.span_id]
                stack += [(depth + 1, one) for one in reversed(below)]
            elif _is_audit(item.name):
                yield self._audit_event(item, depth)

    def log(self, log: LogEntry, depth: int) -> Row:
        """Return the row of a log record. The body of an audit record is not shown."""
        record_id = _record_id(log.attributes) if _is_audit(log.event_name) else None
        text = "" if _is_audit(log.event_name) else _text(log.body)
        return Row(
            kind="log",
            depth=depth,
            name=printable(log.event_name or log.severity_text or "log record"),
            detail=text,
            service=_service(log.resource),
            offset_ms=self._offset(_begin(log)),
            left=self._percent(_begin(log)),
            is_error=log.severity_number >= _SEVERITY_ERROR,
            record_id=record_id,
            attributes=_pairs(log.attributes),
        )

    def _span(self, span: SpanRecord, depth: int) -> Row:
        left = min(self._percent(span.start), 100 - _NARROWEST)
        width = max(_NARROWEST, (span.end - span.start) / self._length * 100)
        return Row(
            kind="span",
            depth=depth,
            name=printable(span.name),
            detail=printable(span.status_message) or _detail(span.attributes),
            service=_service(span.resource),
            offset_ms=self._offset(span.start),
            duration_ms=(span.end - span.start) / 1e6,
            left=left,
            width=min(width, 100 - left),
            is_error=span.status == "ERROR",
            marks=[self._mark(one) for one in span.events],
            attributes=[("span.kind", span.kind), *_pairs(span.attributes)],
        )

    def _audit_event(self, event: SpanEvent, depth: int) -> Row:
        mark = self._mark(event)
        return Row(
            kind="mark",
            depth=depth,
            name=mark.name,
            offset_ms=mark.offset_ms,
            left=mark.left,
            record_id=mark.record_id,
            attributes=mark.attributes,
        )

    def _mark(self, event: SpanEvent) -> Mark:
        return Mark(
            name=printable(event.name),
            left=self._percent(event.time),
            offset_ms=self._offset(event.time),
            record_id=_record_id(event.attributes) if _is_audit(event.name) else None,
            attributes=_pairs(event.attributes),
        )

    def _offset(self, moment: int) -> float:
        return (moment - self._start) / 1e6

    def _percent(self, moment: int) -> float:
        return round(min(100.0, max(0.0, (moment - self._start) / self._length * 100)), 3)


def _begin(item: Item) -> int:
    if isinstance(item, SpanRecord):
        return item.start
    return item.time or (item.observed if isinstance(item, LogEntry) else 0)


def _end(item: Item) -> int:
    return item.end if isinstance(item, SpanRecord) else _begin(item)


def _is_audit(name: str | None) -> bool:
    return (name or "").startswith(semconv.EVENT_PREFIX)


def _record_id(attributes: Mapping[str, object]) -> str | None:
    found = attributes.get(semconv.RECORD_ID)
    return found if isinstance(found, str) else None


def _service(resource: Mapping[str, object]) -> str:
    return _text(resource.get(semconv.SERVICE_NAME) or "")


def _detail(attributes: Mapping[str, object]) -> str:
    return next((_text(attributes[name]) for name in _DETAILS if name in attributes), "")


def _pairs(attributes: Mapping[str, object]) -> Pairs:
    return [(printable(name), _text(value)) for name, value in sorted(attributes.items())]


def _text(value: object) -> str:
    if value is None:
        return ""
    shown = value if isinstance(value, str) else json.dumps(as_json(value), ensure_ascii=False)
    return printable(" ".join(shown.split()))
