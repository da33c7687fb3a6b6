"""Events from log records (OTLP) with audit attributes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Never, TypeGuard, get_args

from auditspan.errors import IngestError
from auditspan.format import Actor, ActorType, Outcome, Target
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp import LogEntry, Value
from auditspan.trail.ingest.foreign_event import ForeignEvent

_MAX_DEPTH = 40
"""Levels of changes and metadata; the strict parser of JSON requests has 32 for the whole body."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ACTOR = (semconv.ACTOR_TYPE, semconv.ACTOR_ID, semconv.ACTOR_LABEL)
_ON_BEHALF_OF = (
    *(semconv.ON_BEHALF_OF_TYPE, semconv.ON_BEHALF_OF_ID),
    semconv.ON_BEHALF_OF_LABEL,
)
_TARGET = (semconv.TARGET_TYPE, semconv.TARGET_ID, semconv.TARGET_VERSION)
_READ = frozenset(
    {
        *_ACTOR,
        *_ON_BEHALF_OF,
        *_TARGET,
        *(semconv.ACTION, semconv.OUTCOME, semconv.REASON, semconv.CHANGES),
        *(semconv.LOG_RECORD_UID, semconv.RECORD_ID),
    }
)
_RESOURCE = (semconv.SERVICE_NAME, semconv.SERVICE_VERSION, semconv.SERVICE_INSTANCE_ID)


def event_of_log(entry: LogEntry) -> ForeignEvent:
    """Return the event that a log record states with its audit attributes.

    The action is `audit.action` as `type.verb`, or else the name of the event without `audit.`. All
    other attributes are recorded in `metadata.attributes`, and the body in `metadata.body`; of the
    resource, `metadata.resource` has the name, version and instance of the service.

    Raises:
        IngestError: there is no action, an attribute has the wrong type, or a value is nested too
            deeply.
    """
    given = _Given(entry.attributes)
    changes, metadata = given.changes(), _metadata(entry)
    _require_shallow([changes, metadata])
    return ForeignEvent(
        action=_action(entry, given),
        event_id=_event_id(given),
        occurred_at=_time(entry.time or entry.observed),
        actor=given.actor(*_ACTOR),
        on_behalf_of=given.actor(*_ON_BEHALF_OF),
        target=given.target(),
        outcome=given.outcome(),
        reason=given.text(semconv.REASON),
        changes=changes,
        metadata=metadata,
        traceparent=_traceparent(entry),
    )


@dataclass(frozen=True)
class _Given:
    """The attributes of a log record; each method raises IngestError for a wrong type."""

    attributes: Mapping[str, Value]

    def text(self, name: str) -> str | None:
        value = self.attributes.get(name)
        if value is None or (isinstance(value, str) and value):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise IngestError(f"the attribute {name} must be a string that is not empty")

    def actor(self, type_: str, id_: str, label: str) -> Actor | None:
        values = [self.text(name) for name in (type_, id_, label)]
        if not any(values):
            return None
        if not _is_actor_type(values[0]):
            raise IngestError(f"the attribute {type_} must be {' or '.join(get_args(ActorType))}")
        return Actor(type=values[0], id=values[1], label=values[2])

    def target(self) -> Target | None:
        type_, id_ = self.text(semconv.TARGET_TYPE), self.text(semconv.TARGET_ID)
        version = self.attributes.get(semconv.TARGET_VERSION)
        if type_ is None:
            if id_ is None and version is None:
                return None
            raise IngestError(f"a target needs the attribute {semconv.TARGET_TYPE}")
        if version is None or _is_version(version):
            return Target(type=type_, id=id_, version=version)
        raise IngestError(f"the attribute {semconv.TARGET_VERSION} must be a number from 0")

    def outcome(self) -> Outcome:
        value = self.text(semconv.OUTCOME)
        if value is None:
            return "success"
        if _is_outcome(value):
            return value
        names = " or ".join(get_args(Outcome))
        raise IngestError(f"the attribute {semconv.OUTCOME} must be {names}")

    def changes(self) -> Mapping[str, Mapping[str, Any]]:
        found = _parsed(self.attributes.get(semconv.CHANGES))
        if found is None:
            return {}
        if isinstance(found, dict) and all(isinstance(one, dict) for one in found.values()):
            return found
        raise IngestError(
            f"the attribute {semconv.CHANGES} must be a map of columns, or such a map as JSON"
        )


def _parsed(value: Value) -> object:
    """Return the value of a JSON text, or a value that is not text as it is; "" if malformed."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return ""


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _require_shallow(value: object) -> None:
    """Refuse a value that is nested too deeply for functions that call themselves.

    Raises:
        IngestError: it is.
    """
    level, depth = [value], 0
    while level:
        if depth > _MAX_DEPTH:
            raise IngestError(f"a value is nested more than {_MAX_DEPTH} levels deep")
        inner = [one.values() if isinstance(one, dict) else one for one in level]
        level = [each for one in inner if not isinstance(one, str | bytes) for each in _items(one)]
        depth += 1


def _items(value: object) -> Iterable[object]:
    return value if isinstance(value, Iterable) else ()


def _is_actor_type(text: str | None) -> TypeGuard[ActorType]:
    return text in get_args(ActorType)


def _is_outcome(text: str) -> TypeGuard[Outcome]:
    return text in get_args(Outcome)


def _is_version(value: Value) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _action(entry: LogEntry, given: _Given) -> str:
    action = given.text(semconv.ACTION)
    if action and "." in action:
        return action
    name = (entry.event_name or "").removeprefix(semconv.EVENT_PREFIX)
    if name:
        return name
    raise IngestError(
        f"a log record needs an action: the attribute {semconv.ACTION} as `type.verb`, or an event "
        f"name such as {semconv.EVENT_PREFIX}invoice.sent"
    )


def _event_id(given: _Given) -> str | None:
    found = given.text(semconv.LOG_RECORD_UID) or given.text(semconv.RECORD_ID)
    return found.lower() if found else None


def _time(nanoseconds: int) -> datetime | None:
    if not nanoseconds:
        return None
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        raise IngestError("the time of the log record is out of range") from None


def _traceparent(entry: LogEntry) -> str | None:
    return f"00-{entry.trace_id}-{entry.span_id}-01" if entry.trace_id and entry.span_id else None


def _metadata(entry: LogEntry) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "attributes": {name: one for name, one in entry.attributes.items() if name not in _READ},
        "body": entry.body,
        "resource": {name: entry.resource[name] for name in _RESOURCE if name in entry.resource},
    }
    return {name: part for name, part in parts.items() if part not in (None, {}, "")}
