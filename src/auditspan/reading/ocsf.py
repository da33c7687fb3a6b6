"""Events as events of OCSF 1.6, the schema of many SIEM systems.

An event with a target is Entity Management (3004), any other API Activity (6003). `raw_data` is
the exact text that was sealed; with `mac`, `recorded_at` and `row_id` of `unmapped`, it can be
verified.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from auditspan.reading.sealed_events import (
    Read,
    event_time,
    is_time,
    json_line,
    newest_checkpoint,
    sealed_events,
)
from auditspan.storage import AuditTables, EventFilter, StoredEvent

VERSION = "1.6.0"

_ENTITY_MANAGEMENT = {
    "category_uid": 3,
    "category_name": "Identity & Access Management",
    "class_uid": 3004,
    "class_name": "Entity Management",
}
_API_ACTIVITY = {
    "category_uid": 6,
    "category_name": "Application Activity",
    "class_uid": 6003,
    "class_name": "API Activity",
}
_ACTIVITIES = {"create": 1, "read": 2, "viewed": 2, "update": 3, "delete": 4}
_NAMES = {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}
_OTHER = 99
_STATUSES = {"success": (1, "Success"), "failure": (2, "Failure"), "unknown": (0, "Unknown")}
_SEVERITIES = {"success": (1, "Informational"), "failure": (2, "Low"), "unknown": (0, "Unknown")}
_USER_TYPES = {"user": (1, "User"), "system": (3, "System"), "service": (4, "Service")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def export_ocsf(read: Read, tables: AuditTables, wanted: EventFilter) -> Iterator[str]:
    """Yield the lines of an export as JSON lines, each an event of OCSF.

    Raises:
        NotSealedError: nothing is sealed yet.
    """
    size = newest_checkpoint(read, tables).size
    for event in sealed_events(read, tables, wanted, size):
        yield json_line(ocsf_event(event))


def ocsf_event(event: StoredEvent) -> dict[str, Any]:
    """Return an event as an event of OCSF: API Activity, or Entity Management with a target."""
    members = event.resource()
    actor, target = _mapping(members["actor"]), _mapping(members["target"])
    kind, activity = (_ENTITY_MANAGEMENT if target else _API_ACTIVITY), _activity(members["action"])
    status_id, status = _STATUSES.get(str(members["outcome"]), (0, "Unknown"))
    severity_id, severity = _SEVERITIES.get(str(members["outcome"]), (0, "Unknown"))
    name = _NAMES.get(activity, str(members["action"]).rpartition(".")[2])
    return {
        **kind,
        "activity_id": activity,
        "activity_name": name,
        "type_uid": kind["class_uid"] * 100 + activity,  # type: ignore[operator]
        "type_name": f"{kind['class_name']}: {name}",
        "time": _milliseconds(event_time(event)) or 0,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        **_known("status_detail", members["reason"]),
        "message": members["action"],
        "metadata": _metadata(event, members),
        "actor": {"user": _user(actor)},
        "src_endpoint": _source(members),
        "http_request": _http_request(_mapping(members["request"])),
        **(_entity(target, members) if target else {"api": _api(members)}),
        "raw_data": event.body,
        "unmapped": _unmapped(event, members),
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _known(name: str, value: object) -> dict[str, Any]:
    return {} if value in (None, {}) else {name: value}


def _activity(action: object) -> int:
    return _ACTIVITIES.get(str(action).rpartition(".")[2], _OTHER)


def _milliseconds(text: str | None) -> int | None:
    if not is_time(text):
        return None
    return (datetime.fromisoformat(str(text)) - _EPOCH) // timedelta(milliseconds=1)


def _metadata(event: StoredEvent, members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "product": {"name": "auditspan", "vendor_name": "auditspan"},
        "uid": members["event_id"],
        "event_code": members["action"],
        "sequence": event.seq,
        "original_time": str(members["occurred_at"]),
        **_known("logged_time", _milliseconds(event.recorded_at)),
        **_known("correlation_uid", members["trace_id"]),
        **_known("tenant_uid", members["tenant"]),
    }


def _user(actor: Mapping[str, Any]) -> dict[str, Any]:
    type_id, type_ = _USER_TYPES.get(str(actor.get("type")), (0, "Unknown"))
    name = actor.get("label") or actor.get("id") or str(actor.get("type"))
    return {"type_id": type_id, "type": type_, "name": name, **_known("uid", actor.get("id"))}


def _source(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the client's address, or the program where there is none."""
    address = _mapping(members["request"]).get("client_address")
    try:
        return {"ip": str(ipaddress.ip_address(str(address)))}
    except ValueError:
        return {"svc_name": _mapping(members["service"]).get("name") or "unknown"}


def _http_request(request: Mapping[str, Any]) -> dict[str, Any]:
    route = request.get("route")
    return {
        **_known("uid", request.get("id")),
        **_known("http_method", request.get("method")),
        **_known("user_agent", request.get("user_agent")),
        **({"url": {"path": route}} if route else {}),
    }


def _entity(target: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    changes = _mapping(members["changes"])
    before, after = (
        {name: sides[side] for name, sides in changes.items() if side in sides}
        for side in ("old", "new")
    )
    named = {"type": target["type"], "name": f"{target['type']}/{target['id'] or ''}"}
    named |= _known("uid", target["id"])
    version = target.get("version")
    result = {**named, **({"version": str(version)} if version is not None else {})}
    return {
        "entity": {**named, **_known("data", before)},
        "entity_result": {**result, **_known("data", after)},
    }


def _api(members: Mapping[str, Any]) -> dict[str, Any]:
    service = _mapping(members["service"]).get("name")
    request = _mapping(members["request"]).get("id")
    return {
        "operation": members["action"],
        **({"service": {"name": service}} if service else {}),
        **({"request": {"uid": request}} if request else {}),
    }


def _unmapped(event: StoredEvent, members: Mapping[str, Any]) -> dict[str, Any]:
    names = ("on_behalf_of", "changes", "metadata", "service", "tx_id", "span_id")
    kept = {name: members[name] for name in names if members[name] not in (None, {})}
    return {
        **kept,
        "recorded_at": event.recorded_at,
        "row_id": event.row_id,
        **_known("mac", event.mac),
    }
