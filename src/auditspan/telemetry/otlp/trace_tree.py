"""Tree of a trace: its spans with their span events and log records, in time order.

Nothing is omitted: a span whose parent is not in the files is listed under a heading that says so,
a log record without a known span at the end; duplicates are shown once, with their number.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from auditspan.format import printable
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp.decode import LogEntry, SpanEvent, SpanRecord, as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from auditspan.telemetry.otlp.decode import Attributes

Item: TypeAlias = SpanRecord | SpanEvent | LogEntry
ItemT = TypeVar("ItemT", bound=Item)
RecordT = TypeVar("RecordT", SpanRecord, LogEntry)

_WIDTH = 120  # columns; a longer line ends in an ellipsis
_BRANCH_WIDTH = 60  # columns; a deeper branch begins with an ellipsis
_FIELD_WIDTH = 48  # columns

_REQUEST = (semconv.HTTP_REQUEST_METHOD, semconv.HTTP_ROUTE)
_DATABASE = ("db.query.text", "db.operation.name", "db.statement", "db.operation")
_POINTERS = {
    semconv.SEQUENCE_NUMBER: "seq",
    semconv.RECORD_ID: "record",
    semconv.TRUNCATED_COUNT: "left out",
}


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Trace as arranged by `build_trace`. Times in nanoseconds since 1970."""

    trace_id: str
    spans: tuple[SpanRecord, ...]
    logs: tuple[LogEntry, ...]
    roots: tuple[SpanRecord, ...]
    below: Mapping[str, tuple[Item, ...]]
    """The items on each span, by span id."""
    detached: Mapping[str, tuple[SpanRecord, ...]]
    """The spans that cannot be reached from a root, by parent id."""
    unplaced: tuple[LogEntry, ...]
    """The log records without a known span."""
    times: Mapping[object, int]
    """The number of occurrences of each span id and each `log.record.uid`."""

    @property
    def empty(self) -> bool:
        """True if neither a span nor a log record of the trace was found."""
        return not self.spans and not self.logs

    @cached_property
    def start(self) -> int:
        """The start of the earliest span; without spans, the time of the earliest log record."""
        return min(map(_moment, self.spans or self.logs), default=0)

    @property
    def duration(self) -> int:
        """The nanoseconds from the start of the earliest span to the end of the latest."""
        return max((span.end for span in self.spans), default=self.start) - self.start


def build_trace(trace_id: str, spans: Iterable[SpanRecord], logs: Iterable[LogEntry]) -> Trace:
    """Arrange the items of the trace; other `spans` and `logs` are not kept in memory."""
    wanted = trace_id.lower()
    own_spans, span_times = _once((s for s in spans if s.trace_id == wanted), lambda s: s.span_id)
    own_logs, log_times = _once((r for r in logs if r.trace_id == wanted), _uid)
    below: dict[str, list[Item]] = {span.span_id: list(span.events) for span in own_spans}
    detached: dict[str, list[SpanRecord]] = {}
    circular = _circular({span.span_id: span.parent_span_id for span in own_spans})
    for span in own_spans:
        if (parent := span.parent_span_id) in below and span.span_id not in circular:
            below[parent].append(span)
        elif parent is not None:
            detached.setdefault(parent, []).append(span)
    for log in own_logs:
        if log.span_id in below:
            below[log.span_id].append(log)
    return Trace(
        trace_id=wanted,
        spans=tuple(own_spans),
        logs=tuple(own_logs),
        roots=_in_order(span for span in own_spans if span.parent_span_id is None),
        below={span_id: _in_order(items) for span_id, items in below.items()},
        detached={parent: _in_order(detached[parent]) for parent in sorted(detached)},
        unplaced=_in_order(log for log in own_logs if log.span_id not in below),
        times=span_times + log_times,
    )


def _uid(log: LogEntry) -> str | None:
    uid = log.attributes.get(semconv.LOG_RECORD_UID)
    return uid if isinstance(uid, str) else None


def _once(
    found: Iterable[RecordT], identity: Callable[[RecordT], str | None]
) -> tuple[list[RecordT], Counter[object]]:
    """Return the first record of each identity, and counts; without identity, each is unique."""
    first: dict[object, RecordT] = {}
    times: Counter[object] = Counter()
    for record in found:
        key = identity(record) or object()
        first.setdefault(key, record)
        times[key] += 1
    return list(first.values()), times


def _circular(parents: Mapping[str, str | None]) -> set[str]:
    """Return spans that are their own ancestors: clients can send them; no root leads to them."""
    circular: set[str] = set()
    settled: set[str] = set()
    for start in parents:
        path: list[str] = []
        at: str | None = start
        while at is not None and at in parents and at not in settled:
            settled.add(at)
            path.append(at)
            at = parents[at]
        if at in path:
            circular.update(path[path.index(at) :])
    return circular


def _moment(item: Item) -> int:
    if isinstance(item, SpanRecord):
        return item.start
    return item.time or (item.observed if isinstance(item, LogEntry) else 0)


def _in_order(items: Iterable[ItemT]) -> tuple[ItemT, ...]:
    return tuple(sorted(items, key=_moment))


def render_trace(trace: Trace) -> str:
    """Render the trace as text in lines of at most 120 columns; offsets are from its start.

    Unprintable characters are escaped, so that data sent by a client cannot forge a line or control
    the terminal. The diff of an audit record is never shown.
    """
    events = sum(len(span.events) for span in trace.spans)
    counts = f"spans {len(trace.spans)}  span events {events}  log records {len(trace.logs)}"
    lines = [f"trace {trace.trace_id}  {_milliseconds(trace.duration)}  {counts}"]
    for branch, row in _rows(trace):
        parts = [row] if isinstance(row, str) else _parts(trace, branch, row)
        lines.append(_clipped(branch + "  ".join(filter(None, parts)), _WIDTH))
    return "\n".join(lines)


def trace_as_dict(trace: Trace) -> dict[str, object]:
    """Return the trace as JSON data: the spans in tree order, each with its log records.

    Offsets are from the start of the trace. Audit records are returned without body, so no diff.
    """
    spans = [row for _, row in _rows(trace) if isinstance(row, SpanRecord)]
    return {
        "trace_id": trace.trace_id,
        "start": as_json(trace.start),
        "duration_ms": trace.duration / 1e6,
        "spans": [_span_as_dict(trace, span) for span in spans],
        "logs": [_log_as_dict(trace, log) for log in trace.unplaced],
    }


def _span_as_dict(trace: Trace, span: SpanRecord) -> dict[str, object]:
    logs = [item for item in trace.below[span.span_id] if isinstance(item, LogEntry)]
    return {name: as_json(value) for name, value in asdict(span).items()} | {
        "parent_missing": span.parent_span_id not in {None, *trace.below},
        "offset_ms": (span.start - trace.start) / 1e6,
        "duration_ms": (span.end - span.start) / 1e6,
        "times": trace.times[span.span_id],
        "logs": [_log_as_dict(trace, log) for log in logs],
    }


def _log_as_dict(trace: Trace, log: LogEntry) -> dict[str, object]:
    fields = {name: as_json(value) for name, value in asdict(log).items()}
    if _is_audit(log):
        del fields["body"]
    offset = (_moment(log) - trace.start) / 1e6
    return fields | {"offset_ms": offset, "times": trace.times.get(_uid(log) or "", 1)}


def _rows(trace: Trace) -> Iterator[tuple[str, Item | str]]:
    """Yield every line of the tree, in order: its branch prefix, and an item or a heading."""
    for root in trace.roots:
        yield "", root
        yield from _branches(trace, trace.below[root.span_id])
    for parent, spans in trace.detached.items():
        why = "parents in a circle" if parent in trace.below else "parent not in these files"
        yield "", f"({why})  {parent}"
        yield from _branches(trace, spans)
    if trace.unplaced:
        yield "", "(no span)"
        yield from _branches(trace, trace.unplaced)


def _branches(trace: Trace, items: Sequence[Item]) -> Iterator[tuple[str, Item]]:
    """Yield the items and their descendants, depth first; iteratively, because traces are deep."""
    stack = _on_one_stem("", items)
    while stack:
        stem, is_last, item = stack.pop()
        yield stem + ("└─ " if is_last else "├─ "), item
        if isinstance(item, SpanRecord):
            longer = stem + ("   " if is_last else "│  ")
            shown = longer if len(longer) <= _BRANCH_WIDTH else "…  " + longer[3 - _BRANCH_WIDTH :]
            stack += _on_one_stem(shown, trace.below[item.span_id])


def _on_one_stem(stem: str, items: Sequence[Item]) -> list[tuple[str, bool, Item]]:
    return [(stem, index == 0, item) for index, item in enumerate(reversed(items))]


def _parts(trace: Trace, branch: str, item: Item) -> Iterator[str]:
    offset = _moment(item) - trace.start
    if branch or offset:
        yield f"{offset / 1e6:+.1f} ms"
    if isinstance(item, SpanRecord):
        yield _shown(item.name) + _repeated(trace, item.span_id)
        yield from _span_parts(item)
    elif isinstance(item, SpanEvent):
        yield "span event"
        yield from _named_parts(item.name, item.attributes)
    else:
        yield "log record" + _repeated(trace, _uid(item))
        if not _is_audit(item):
            yield _shown(item.severity_text or item.severity_number)
            yield _shown(item.body, _WIDTH)
        yield from _named_parts(item.event_name or "", item.attributes)


def _span_parts(span: SpanRecord) -> Iterator[str]:
    attributes = span.attributes
    yield span.kind
    yield _milliseconds(span.end - span.start)
    request = (_shown(attributes.get(key)) for key in _REQUEST)
    yield " ".join(part for part in request if part not in span.name)
    yield _shown(attributes.get("http.response.status_code"))
    if span.status == "ERROR":
        yield f"ERROR {_shown(span.status_message, _WIDTH)}".rstrip()
    yield from (f"linked to trace {link.trace_id}" for link in span.links)
    statement = next((_shown(attributes[k], _WIDTH) for k in _DATABASE if k in attributes), "")
    yield statement if statement not in span.name else ""


def _named_parts(name: str, attributes: Attributes) -> Iterator[str]:
    """Yield the parts shown for an event: for an audit record its row, else its exception."""
    yield _shown(name)
    if not name.startswith(semconv.EVENT_PREFIX):
        raised = (attributes.get(key) for key in ("exception.type", "exception.message"))
        yield _shown(": ".join(str(value) for value in raised if value), _WIDTH)
        return
    yield _shown(attributes.get(semconv.OUTCOME))
    yield _joined(attributes, semconv.TARGET_TYPE, semconv.TARGET_ID)
    if actor := _joined(attributes, semconv.ACTOR_TYPE, semconv.ACTOR_ID):
        yield f"by {actor}"
    for key in [key for key in _POINTERS if key in attributes][:1]:
        yield f"{_POINTERS[key]} {_shown(attributes[key])}"


def _is_audit(log: LogEntry) -> bool:
    return (log.event_name or "").startswith(semconv.EVENT_PREFIX)


def _joined(attributes: Attributes, *keys: str) -> str:
    return "/".join(_shown(attributes[key]) for key in keys if key in attributes)


def _repeated(trace: Trace, name: str | None) -> str:
    times = trace.times.get(name or "", 1)
    return f" \N{MULTIPLICATION SIGN}{times}" if times > 1 else ""


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f} ms"


def _shown(value: object, width: int = _FIELD_WIDTH) -> str:
    """Return a value as printable text on one line; empty for None."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(as_json(value), ensure_ascii=False)
    one_line = " ".join(text.split())
    return _clipped(printable(one_line), width)


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
