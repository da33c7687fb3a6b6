"""Documents that the API returns, as models for its description (OpenAPI)."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, RootModel

from auditspan.format import ActorType, Outcome
from auditspan_service.api.event_schemas import Events, NewEvent

_Item = TypeVar("_Item")
EXAMPLE_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
_TRACE, _SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
EXAMPLE_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
EXAMPLE_TIME = "2026-01-31T12:00:00.000000Z"


class Document(BaseModel):
    """Document with an example of it."""

    EXAMPLE: ClassVar[Any] = None


class Actor(BaseModel):
    """Actor of an event."""

    type: ActorType
    id: str | None
    label: str | None


class Target(BaseModel):
    """Object that was acted on."""

    type: str
    id: str | None
    version: int | None


class Request(BaseModel):
    """HTTP request that caused an event."""

    id: str | None
    client_address: str | None
    user_agent: str | None
    method: str | None
    route: str | None


class Service(BaseModel):
    """Program that caused an event."""

    name: str | None
    version: str | None
    instance: str | None


class Event(Document):
    """Event of the trail: the members of its body, and its place in the trail."""

    v: int | None
    event_id: str
    occurred_at: str
    action: str
    outcome: Outcome
    reason: str | None
    actor: Actor
    on_behalf_of: Actor | None
    target: Target | None
    changes: dict[str, dict[str, Any]]
    request: Request | None
    trace_id: str | None
    span_id: str | None
    tx_id: str
    tenant: str | None
    service: Service
    metadata: dict[str, Any]
    seq: int | None
    recorded_at: str
    delivered: bool

    EXAMPLE: ClassVar[Any] = {
        "v": 1,
        "event_id": EXAMPLE_ID,
        "occurred_at": EXAMPLE_TIME,
        "action": "user.update",
        "outcome": "success",
        "reason": None,
        "actor": {"type": "user", "id": "7", "label": "kim"},
        "on_behalf_of": None,
        "target": {"type": "user", "id": "42", "version": 3},
        "changes": {"full_name": {"old": "Kim", "new": "Kim Park"}},
        "request": {
            "id": "5f0c",
            "client_address": "198.51.100.7",
            "user_agent": "curl/8.5.0",
            "method": "PATCH",
            "route": "/v1/users/<id>",
        },
        "trace_id": _TRACE,
        "span_id": _SPAN,
        "tx_id": EXAMPLE_ID,
        "tenant": None,
        "service": {"name": "auditspan", "version": "0.1.0", "instance": "1"},
        "metadata": {},
        "change_id": 17,
        "seq": 1234,
        "recorded_at": EXAMPLE_TIME,
        "delivered": True,
    }


class Page(Document, Generic[_Item]):
    """Page of a list; `next` is the cursor of the next page, or null."""

    items: list[_Item]
    next: str | None


class EventPage(Page[Event]):
    """Page of events."""

    EXAMPLE: ClassVar[Any] = {"items": [Event.EXAMPLE], "next": "MTIzOjQ1Ng"}


class Purge(Document):
    """Removal of the rows of the first events by retention; `event_id` is its authorisation."""

    event_id: str
    seq: int
    size: int
    root: str
    before: str
    recorded_at: str
    actor: str
    reason: str | None

    EXAMPLE: ClassVar[Any] = {
        "event_id": EXAMPLE_ID,
        "seq": 1300,
        "size": 1234,
        "root": EXAMPLE_HASH,
        "before": EXAMPLE_TIME,
        "recorded_at": EXAMPLE_TIME,
        "actor": "7",
        "reason": "retention policy 4.2",
    }


class History(Page[Event]):
    """Events of an object; with `purged`, retention may have removed earlier ones.

    `purged` is null for a key of a tenant.
    """

    purged: Purge | None

    EXAMPLE: ClassVar[Any] = {"items": [Event.EXAMPLE], "next": None, "purged": None}


class State(Document):
    """State of an object at a time: its columns in their recorded form, and the ids of its links.

    `event_id` is the last change. `is_complete` is false if the trail begins after the object.
    """

    target: Target
    values: dict[str, Any]
    links: dict[str, list[str]]
    is_complete: bool
    event_id: str

    EXAMPLE: ClassVar[Any] = {
        "target": {"type": "user", "id": "42", "version": 3},
        "values": {"id": 42, "username": "kim", "full_name": "Kim Park"},
        "links": {"roles": ["2"]},
        "is_complete": True,
        "event_id": EXAMPLE_ID,
    }


class EventItems(Document):
    """Events of a batch, in its order."""

    items: list[Event]


class NewEvents(RootModel[NewEvent | Events]):
    """One event, or an array of up to 500 that are recorded as a whole."""

    EXAMPLE: ClassVar[Any] = {
        "event_id": EXAMPLE_ID,
        "action": "invoice.sent",
        "actor": {"type": "user", "id": "42", "label": "kim"},
        "target": {"type": "invoice", "id": "7"},
        "traceparent": f"00-{_TRACE}-{_SPAN}-01",
    }


class RecordedEvents(RootModel[Event | EventItems]):
    """The recorded event, or `items` for an array."""

    EXAMPLE: ClassVar[Any] = Event.EXAMPLE


class ExportLine(Document):
    """Line of an export as JSON lines; the last line has `manifest` instead.

    An export as CSV (`text/csv`) has columns instead of members.
    """

    body: dict[str, Any] | str
    mac: str | None
    recorded_at: str
    row_id: int
    seq: int

    EXAMPLE: ClassVar[Any] = {
        "body": {"action": "user.update"},
        "mac": EXAMPLE_HASH,
        "recorded_at": EXAMPLE_TIME,
        "row_id": 1235,
        "seq": 1234,
    }


class FieldProblem(BaseModel):
    """Error in one member."""

    field: str
    message: str


class Problem(Document):
    """Problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    trace_id: str | None
    errors: list[FieldProblem] = []

    EXAMPLE: ClassVar[Any] = {
        "type": "/problems/not-found",
        "title": "Not found",
        "status": 404,
        "detail": "No event has this id.",
        "trace_id": _TRACE,
    }


class Explanation(Document):
    """Explanation of a kind of problem."""

    type: str
    status: int
    title: str
    explanation: str

    EXAMPLE: ClassVar[Any] = {
        "type": "/problems/not-found",
        "status": 404,
        "title": "Not found",
        "explanation": "No object has this id; it may have been deleted.",
    }


class Health(Document):
    """State of the process; `/readyz` adds what waits to be sealed and delivered."""

    status: str

    EXAMPLE: ClassVar[Any] = {"status": "ok"}
