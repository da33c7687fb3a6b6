"""The requests of the tour, and the records that each one must produce."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from auditspan_service.api.access import REFUSALS
from auditspan_service.tour.routes import BULK_ROUTE, FAILING_ROUTE, PREFIX

_SENT = {
    "event_id": "{event_id}",
    "action": "invoice.sent",
    "target": {"type": "invoice", "id": "7"},
    "reason": "an event of another service",
}
_BULK = f"{BULK_ROUTE}{{name}}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request of the tour, with the expected response and records.

    Attributes:
        title: the request, in words.
        method: the method.
        path: the path, in which `{user}` is the user of the tour and `{name}` its username.
        status: the expected status.
        actions: the actions of the expected events, in order.
        body: the members of the body, in which `{name}` and `{event_id}` are replaced.
        if_match: which entity tag of the user is sent.
        key: which key is sent: one that permits the request, one that reads only, or none.
    """

    title: str
    method: str
    path: str
    status: int
    actions: tuple[str, ...] = ()
    body: dict[str, Any] | None = None
    if_match: Literal["current", "first"] | None = None
    key: Literal["own", "reader"] | None = "own"

    @property
    def is_extra(self) -> bool:
        """True if only the tour's own server has the route."""
        return self.path.startswith(PREFIX)

    def accepts(self, actions: tuple[str, ...]) -> bool:
        """Return True if these are the expected events; a refusal may be recorded as one more."""
        refusal = REFUSALS.get(HTTPStatus(self.status))
        return actions == self.actions or (refusal is not None and actions == (refusal,))


STORY = (
    Step(
        title="create a user",
        method="POST",
        path="/v1/users",
        body={"username": "{name}", "full_name": "Kim", "email": "kim@example.com"},
        status=201,
        actions=("user.create",),
    ),
    Step(
        title="update the user",
        method="PATCH",
        path="{user}",
        body={"full_name": "Kim Park"},
        if_match="current",
        status=200,
        actions=("user.update",),
    ),
    Step(
        title="update with a stale ETag",
        method="PATCH",
        path="{user}",
        body={"full_name": "Kim Stale"},
        if_match="first",
        status=412,
    ),
    Step(
        title="create a duplicate username",
        method="POST",
        path="/v1/users",
        body={"username": "{name}"},
        status=409,
    ),
    Step(
        title="call without an API key",
        method="POST",
        path="/v1/users",
        body={"username": "eve"},
        key=None,
        status=401,
    ),
    Step(
        title="delete with a key that only reads",
        method="DELETE",
        path="{user}",
        key="reader",
        status=403,
    ),
    Step(title="fail after the flush", method="POST", path=FAILING_ROUTE, status=500),
    Step(
        title="record an event of another service",
        method="POST",
        path="/v1/audit-events",
        body=_SENT,
        status=201,
        actions=("invoice.sent",),
    ),
    Step(
        title="send the same event again",
        method="POST",
        path="/v1/audit-events",
        body=_SENT,
        status=200,
    ),
    Step(
        title="add three users in bulk",
        method="POST",
        path=_BULK,
        status=201,
        actions=("user.create",) * 3,
    ),
    Step(
        title="change them by raw SQL",
        method="PATCH",
        path=_BULK,
        status=200,
        actions=("user.update",) * 3,
    ),
    Step(
        title="roll back a savepoint, keep the rest",
        method="PUT",
        path=_BULK,
        status=200,
        actions=("user.update",),
    ),
    Step(
        title="delete them by one statement",
        method="DELETE",
        path=_BULK,
        status=200,
        actions=("user.delete",) * 3,
    ),
    Step(
        title="delete the user",
        method="DELETE",
        path="{user}",
        if_match="current",
        status=204,
        actions=("user.delete",),
    ),
)
