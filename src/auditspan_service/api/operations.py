"""Operations of the API, for its description: parameters, bodies and responses of each route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from auditspan.format import Outcome
from auditspan_service.api import account_documents as accounts
from auditspan_service.api import documents as out
from auditspan_service.api import otlp_documents as logs
from auditspan_service.api import trail_documents as trail
from auditspan_service.api.query import DEFAULT_LIMIT, MAX_LENGTH, MAX_LIMIT
from auditspan_service.schemas import (
    KeyRotation,
    NewErasure,
    NewKey,
    NewPurge,
    NewUser,
    RoleScopes,
    UserChange,
)

_Text = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]
_Action = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*-]+$", max_length=MAX_LENGTH)]
_TraceId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")]
_Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]


class Paged(BaseModel):
    """Parameters of every list."""

    limit: _Limit = Field(DEFAULT_LIMIT, description="the maximum number of items")
    cursor: _Text | None = Field(None, description="`next` of the page before")


class EventQuery(BaseModel):
    """Filters of events; an event must pass all of them."""

    actor: _Text | None = Field(None, description="the id or label of the actor")
    on_behalf_of: _Text | None = Field(None, description="the id or label")
    action: _Action | None = Field(
        None, description="`type.verb`; each `*` stands for any characters"
    )
    target_type: _Text | None = Field(None, description="the type of the target")
    target_id: _Text | None = Field(None, description="the id of the target")
    field: _Text | None = Field(None, description="the name of a changed member")
    outcome: Outcome | None = Field(None, description="the outcome")
    since: _Text | None = Field(None, description="the earliest time (ISO 8601)")
    until: _Text | None = Field(None, description="the first time that is too late")
    tx_id: _Text | None = Field(None, description="the transaction")
    trace_id: _TraceId | None = Field(None, description="the trace")
    request_id: _Text | None = Field(None, description="the request")
    tenant: _Text | None = Field(None, description="the tenant")
    text: _Text | None = Field(None, description="text anywhere in the event")


class EventExclusions(BaseModel):
    """Filters that exclude events; `not_actor=7` can also be written `actor!=7`."""

    not_actor: _Text | None = Field(None, description="not this actor")
    not_on_behalf_of: _Text | None = Field(None, description="not on behalf of")
    not_action: _Action | None = Field(None, description="not this action")
    not_target_type: _Text | None = Field(None, description="not this type")
    not_target_id: _Text | None = Field(None, description="not this target")
    not_field: _Text | None = Field(None, description="without a change of this member")
    not_outcome: Outcome | None = Field(None, description="not this outcome")
    not_tx_id: _Text | None = Field(None, description="not this transaction")
    not_trace_id: _TraceId | None = Field(None, description="not this trace")
    not_request_id: _Text | None = Field(None, description="not this request")
    not_tenant: _Text | None = Field(None, description="not this tenant")
    not_text: _Text | None = Field(None, description="without this text")


# Pydantic collects the fields of the last base first.
class EventSearch(Paged, EventExclusions, EventQuery):
    """Parameters of a search."""


class EventExport(EventExclusions, EventQuery):
    """Parameters of an export."""

    format: Literal["ndjson", "csv", "ocsf", "cloudevents"] = Field(
        "ndjson", description="the form of the export"
    )


class FromSize(BaseModel):
    """Parameter of a proof."""

    from_size: Annotated[int, Field(ge=1, lt=2**63)] | None = Field(
        None, description="the size of an earlier checkpoint, for a proof of consistency"
    )


class CutOff(BaseModel):
    """Parameter of a plan of retention."""

    before: datetime = Field(description="the cut-off: rows recorded later stay")


class Moment(BaseModel):
    """Parameter of a state."""

    at: datetime = Field(description="the time; events that happened later do not count")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Parameters, body and responses of one route.

    Attributes:
        returns: the documents by status; None for a response without a body.
        problems: the statuses of its problem documents, besides those of every route.
        body: the model of the request's body, with its example.
        example: an example of the body.
        query: the model of the query parameters.
        headers: request headers with their descriptions; those that are required are in `requires`.
        media_types: the media types of the body, besides `application/json`.
        media_type: the media type of the documents.
        error: the document of errors in the media type of the request's body, besides problem
            documents.
    """

    returns: Mapping[int, type[BaseModel] | None]
    problems: tuple[int, ...] = ()
    body: type[BaseModel] | None = None
    example: Any = None
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] | None = None
    requires: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ()
    media_type: str = "application/json"
    error: type[BaseModel] | None = None


_BODY = (400, 408, 413, 415, 422)
_IF_MATCH = {"If-Match": 'the ETag of the version that was read, such as "3", or *'}
_IDEMPOTENCY_KEY = {
    "Idempotency-Key": "a value that the client chooses, such as a UUID: repeating the request "
    "with it within a day creates nothing more"
}
_NEW_USER = {"username": "kim", "email": "kim@example.org", "full_name": "Kim Park"}

OPERATIONS: Mapping[str, Operation] = {
    "users.create": Operation(
        body=NewUser,
        example=_NEW_USER,
        headers=_IDEMPOTENCY_KEY,
        returns={201: accounts.User},
        problems=(*_BODY, 409),
    ),
    "users.search": Operation(query=Paged, returns={200: accounts.UserPage}, problems=(400,)),
    "users.get": Operation(
        headers={"If-None-Match": "the ETag of a version that is known"},
        returns={200: accounts.User, 304: None},
        problems=(404,),
    ),
    "users.change": Operation(
        body=UserChange,
        example={"full_name": "Kim Park"},
        media_types=("application/merge-patch+json",),
        headers=_IF_MATCH,
        requires=("If-Match",),
        returns={200: accounts.User},
        problems=(*_BODY, 404, 409, 412, 428),
    ),
    "users.delete": Operation(
        headers=_IF_MATCH,
        requires=("If-Match",),
        returns={204: None},
        problems=(404, 412, 428),
    ),
    "erasures.create": Operation(
        body=NewErasure,
        example={"reason": "request 2026-117"},
        returns={200: accounts.Erasure},
        problems=(*_BODY, 404),
    ),
    "roles.search": Operation(returns={200: accounts.RoleList}, problems=(400,)),
    "roles.put": Operation(
        body=RoleScopes,
        example={"scopes": ["audit:read", "users:read"]},
        returns={200: accounts.Role},
        problems=(*_BODY, 404, 412),
    ),
    "roles.delete": Operation(returns={204: None}, problems=(404, 409, 412, 422)),
    "roles.of_user": Operation(returns={200: accounts.RoleList}, problems=(400, 404)),
    "roles.assign": Operation(returns={204: None}, problems=(404, 412)),
    "roles.withdraw": Operation(returns={204: None}, problems=(404, 412)),
    "keys.create": Operation(
        body=NewKey,
        example={"scopes": ["audit:write"], "name": "billing", "tenant": "north"},
        headers=_IDEMPOTENCY_KEY,
        returns={201: accounts.IssuedKey},
        problems=(*_BODY, 404, 409),
    ),
    "keys.search": Operation(returns={200: accounts.KeyList}, problems=(400, 404)),
    "keys.get": Operation(returns={200: accounts.Key}, problems=(400, 404)),
    "keys.rotate": Operation(
        body=KeyRotation,
        example={"overlap_seconds": 3600},
        headers=_IDEMPOTENCY_KEY,
        returns={201: accounts.IssuedKey},
        problems=(*_BODY, 404, 409),
    ),
    "keys.revoke": Operation(returns={204: None}, problems=(404,)),
    "audit_events.search": Operation(
        query=EventSearch, returns={200: out.EventPage}, problems=(400,)
    ),
    "audit_events.get": Operation(returns={200: out.Event}, problems=(404, 410)),
    "retention.plan": Operation(query=CutOff, returns={200: trail.RetentionPlan}, problems=(400,)),
    "retention.authorise": Operation(
        body=NewPurge,
        example={"before": out.EXAMPLE_TIME, "reason": "retention policy 4.2", "dry_run": False},
        returns={200: trail.PurgeAuthorisation},
        problems=(*_BODY, 409),
    ),
    "event_ingest.create": Operation(
        body=out.NewEvents,
        example=out.NewEvents.EXAMPLE,
        returns={201: out.RecordedEvents, 200: out.RecordedEvents},
        problems=(*_BODY, 409),
    ),
    "otlp_logs.export": Operation(
        body=logs.OtlpLogs,
        example=logs.OtlpLogs.EXAMPLE,
        returns={200: logs.OtlpAnswer},
        error=logs.OtlpStatus,
        problems=_BODY[:-1],
    ),
    "exports.export": Operation(
        query=EventExport,
        returns={200: out.ExportLine},
        media_type="application/x-ndjson",
        problems=(409,),
    ),
    "proofs.prove": Operation(query=FromSize, returns={200: trail.Proof}, problems=(400, 404, 409)),
    "proofs.latest": Operation(returns={200: trail.Checkpoint}, problems=(400, 404)),
    "history.get": Operation(returns={200: out.History}, problems=(400, 404)),
    "states.get": Operation(query=Moment, returns={200: out.State}, problems=(400, 404, 409, 410)),
    "health.alive": Operation(returns={200: out.Health}),
    "health.ready": Operation(returns={200: out.Health}, problems=(503,)),
    "problems.explain": Operation(returns={200: out.Explanation}, problems=(404,)),
}
