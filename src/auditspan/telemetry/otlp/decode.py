"""Decoder for spans and log records in an OTLP JSON document.

The encoding is https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids are
hexadecimal, 64-bit integers are strings, bytes are base64, and a field that is absent or null has
its default. Unknown fields are ignored, as the specification requires.
"""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Value: TypeAlias = "str | int | float | bool | bytes | list[Value] | dict[str, Value] | None"
"""A value of an attribute or of the body of a log record (AnyValue)."""

Attributes: TypeAlias = dict[str, Value]

T = TypeVar("T")
N = TypeVar("N", int, float)

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES = ("UNSET", "OK", "ERROR")


class MalformedError(ValueError):
    """Well-formed JSON that is not OTLP."""


@dataclass(frozen=True, kw_only=True)
class SpanEvent:
    """Event on a span; `time` in nanoseconds since 1970."""

    name: str
    time: int
    attributes: Attributes


@dataclass(frozen=True, kw_only=True)
class SpanLink:
    """Link to another span, often in another trace."""

    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True, kw_only=True)
class SpanRecord:
    """Ended span. Ids are lowercase hexadecimal, times nanoseconds since 1970."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: str  # UNSPECIFIED, INTERNAL, SERVER, CLIENT, PRODUCER or CONSUMER
    start: int
    end: int
    status: str  # UNSET, OK or ERROR
    status_message: str
    attributes: Attributes
    events: tuple[SpanEvent, ...]
    links: tuple[SpanLink, ...]
    resource: Attributes
    scope: str


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """Log record. Times in nanoseconds since 1970, 0 if missing."""

    trace_id: str | None
    span_id: str | None
    event_name: str | None
    body: Value
    severity_text: str
    severity_number: int
    time: int
    observed: int
    attributes: Attributes
    resource: Attributes
    scope: str


class _Fields:
    """JSON object with typed access to its fields; absent and null give the default.

    Every method raises `MalformedError` if the field has another type.
    """

    def __init__(self, raw: object) -> None:
        self._raw = _expect(dict, raw)

    def text(self, key: str) -> str:
        raw = self._raw.get(key)
        return "" if raw is None else _expect(str, raw)

    def integer(self, key: str) -> int:
        raw = self._raw.get(key)
        return 0 if raw is None else _number(int, raw)

    def identifier(self, key: str, size: int) -> str | None:
        """Return the id of `size` bytes at `key`; None if it is absent, empty or all zeros."""
        text = self.text(key).lower()
        if text and not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text):
            raise MalformedError(f"{key} is not {size} bytes in hexadecimal")
        return text if text.strip("0") else None

    def required_identifier(self, key: str, size: int) -> str:
        """Return the id of `size` bytes at `key`, which is required."""
        identifier = self.identifier(key, size)
        if identifier is None:
            raise MalformedError(f"{key} is missing")
        return identifier

    def child(self, key: str) -> _Fields:
        raw = self._raw.get(key)
        return _Fields({} if raw is None else raw)

    def children(self, key: str) -> Iterator[_Fields]:
        return map(_Fields, self._list(key))

    def value(self, key: str) -> Value:
        raw = self._raw.get(key)
        return None if raw is None else _any_value(raw)

    def values(self, key: str) -> list[Value]:
        return [_any_value(raw) for raw in self._list(key)]

    def mapping(self, key: str) -> dict[str, Value]:
        return {pair.text("key"): pair.value("value") for pair in self.children(key)}

    def first(self, decoders: Mapping[str, Callable[[object], Value]]) -> Value:
        """Return the decoded value of the field in `decoders` that is set (a protobuf oneof)."""
        for key, raw in self._raw.items():
            if raw is not None and key in decoders:
                return decoders[key](raw)
        return None

    def _list(self, key: str) -> list[object]:
        raw = self._raw.get(key)
        return [] if raw is None else _expect(list, raw)


R = TypeVar("R", SpanRecord, LogEntry)


@dataclass(frozen=True, kw_only=True)
class Signal(Generic[R]):
    """Location of a signal's records in a document, and their decoder."""

    top: str
    scopes: str
    records: str
    decode: Callable[[_Fields, Attributes, str], R]

    def read(self, document: object) -> Iterator[R | MalformedError]:
        """Yield every record of a document; an error in place of a record that is not OTLP.

        Raises:
            MalformedError: the structure around the records is not OTLP.
        """
        for group in _Fields(document).children(self.top):
            resource = group.child("resource").mapping("attributes")
            for scoped in group.children(self.scopes):
                scope = scoped.child("scope").text("name")
                for fields in scoped.children(self.records):
                    yield self._decoded(fields, resource, scope)

    def _decoded(self, fields: _Fields, resource: Attributes, scope: str) -> R | MalformedError:
        try:
            return self.decode(fields, resource, scope)
        except MalformedError as error:
            return error


def _span(fields: _Fields, resource: Attributes, scope: str) -> SpanRecord:
    status = fields.child("status")
    return SpanRecord(
        trace_id=fields.required_identifier("traceId", 16),
        span_id=fields.required_identifier("spanId", 8),
        parent_span_id=fields.identifier("parentSpanId", 8),
        name=fields.text("name"),
        kind=_named(_KINDS, fields.integer("kind")),
        start=fields.integer("startTimeUnixNano"),
        end=fields.integer("endTimeUnixNano"),
        status=_named(_STATUSES, status.integer("code")),
        status_message=status.text("message"),
        attributes=fields.mapping("attributes"),
        events=tuple(map(_event, fields.children("events"))),
        links=tuple(map(_link, fields.children("links"))),
        resource=resource,
        scope=scope,
    )


def _event(fields: _Fields) -> SpanEvent:
    return SpanEvent(
        name=fields.text("name"),
        time=fields.integer("timeUnixNano"),
        attributes=fields.mapping("attributes"),
    )


def _link(fields: _Fields) -> SpanLink:
    return SpanLink(
        trace_id=fields.required_identifier("traceId", 16),
        span_id=fields.required_identifier("spanId", 8),
        attributes=fields.mapping("attributes"),
    )


def _log(fields: _Fields, resource: Attributes, scope: str) -> LogEntry:
    return LogEntry(
        trace_id=fields.identifier("traceId", 16),
        span_id=fields.identifier("spanId", 8),
        event_name=fields.text("eventName") or None,
        body=fields.value("body"),
        severity_text=fields.text("severityText"),
        severity_number=fields.integer("severityNumber"),
        time=fields.integer("timeUnixNano"),
        observed=fields.integer("observedTimeUnixNano"),
        attributes=fields.mapping("attributes"),
        resource=resource,
        scope=scope,
    )


SPANS = Signal(top="resourceSpans", scopes="scopeSpans", records="spans", decode=_span)
LOGS = Signal(top="resourceLogs", scopes="scopeLogs", records="logRecords", decode=_log)


def as_json(value: object) -> object:
    """Convert a value to JSON without loss: bytes to base64, unsupported numbers to strings.

    Unsupported are integers over 53 bits, which JSON parsers round, and non-finite numbers.
    """
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= 2**53):
        return str(value)
    return value


def _named(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else names[0]


def _any_value(raw: object) -> Value:
    try:
        return _Fields(raw).first(_DECODERS)
    except RecursionError as error:
        raise MalformedError("a value is nested too deeply") from error


def _expect(kind: type[T], raw: object) -> T:
    if not isinstance(raw, kind):
        raise MalformedError(f"invalid {type(raw).__name__}: expected {kind.__name__}")
    return raw


_SPELLINGS = {int: (int, str), float: (int, float, str)}


def _number(kind: type[N], raw: object) -> N:
    if isinstance(raw, bool) or not isinstance(raw, _SPELLINGS[kind]):
        raise MalformedError(f"invalid {type(raw).__name__}: expected a number")
    try:
        return kind(raw)  # float also reads "NaN", the SDK's "Infinity" and the collector's "+Inf"
    except (ValueError, OverflowError) as error:
        raise MalformedError("invalid number") from error


def _bytes(raw: object) -> bytes:
    try:
        return base64.b64decode(_expect(str, raw), validate=True)
    except ValueError as error:
        raise MalformedError("bytesValue is not base64") from error


_DECODERS: Mapping[str, Callable[[object], Value]] = {
    "stringValue": partial(_expect, str),
    "intValue": partial(_number, int),
    "doubleValue": partial(_number, float),
    "boolValue": partial(_expect, bool),
    "bytesValue": _bytes,
    "arrayValue": lambda raw: _Fields(raw).values("values"),
    "kvlistValue": lambda raw: _Fields(raw).mapping("values"),
}
