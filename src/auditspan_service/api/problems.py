"""Problem documents (RFC 9457), the format of every error response.

`type` is `about:blank` if the status is sufficient, else the path of a page that explains the
problem.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, url_for
from opentelemetry import trace

from auditspan_service.errors import FieldError

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Kind of problem, with the status and title of its documents and the text of its page."""

    status: int
    title: str
    explanation: str


KINDS: Mapping[str, Kind] = {
    "malformed-body": Kind(
        status=HTTPStatus.BAD_REQUEST,
        title="Invalid JSON body",
        explanation="Bodies must be JSON (RFC 8259) in UTF-8, without duplicate names, NaN, "
        "Infinity, numbers that exceed a double, NUL characters or lone surrogates.",
    ),
    "malformed-query": Kind(
        status=HTTPStatus.BAD_REQUEST,
        title="Invalid query",
        explanation="Query parameters must be known, given once and well-formed. Copy a cursor "
        "unchanged from `next` of a list, and send it with the same filters.",
    ),
    "malformed-header": Kind(
        status=HTTPStatus.BAD_REQUEST,
        title="Invalid header",
        explanation="`Idempotency-Key` must be 1 to 255 printable ASCII characters.",
    ),
    "unauthenticated": Kind(
        status=HTTPStatus.UNAUTHORIZED,
        title="Authentication required",
        explanation="Send `Authorization: Bearer ask_…` with a key from `auditspan keys create`, "
        "or a token of the identity provider, where the service accepts them.",
    ),
    "forbidden": Kind(
        status=HTTPStatus.FORBIDDEN,
        title="Insufficient scope",
        explanation="The key is valid, but lacks the scope that this route requires, or the scope "
        "`admin`, which changing an administrator requires; or it belongs to another tenant.",
    ),
    "not-found": Kind(
        status=HTTPStatus.NOT_FOUND,
        title="Not found",
        explanation="No object has this id; it may have been deleted.",
    ),
    "purged": Kind(
        status=HTTPStatus.GONE,
        title="Removed by retention",
        explanation="The event was sealed and delivered, and its row was removed since. `detail` "
        "and Link name the event that authorised this. Its proof is still available, and the "
        "collector's files have its body.",
    ),
    "duplicate": Kind(
        status=HTTPStatus.CONFLICT,
        title="Duplicate name",
        explanation="The name must be unique, but another object already has it.",
    ),
    "in-use": Kind(
        status=HTTPStatus.CONFLICT,
        title="Still in use",
        explanation="Something else still needs the object; `detail` says what to do first.",
    ),
    "already-executed": Kind(
        status=HTTPStatus.CONFLICT,
        title="Already executed",
        explanation="A request with this Idempotency-Key was executed before, and what it created "
        "was deleted since. Use a new key to create it again.",
    ),
    "event-conflict": Kind(
        status=HTTPStatus.CONFLICT,
        title="Event id in use",
        explanation="An event with this event_id is recorded with other content, or by another "
        "producer; nothing of the batch was recorded. Use a new event_id for a new event, and the "
        "same members for a repeat.",
    ),
    "not-sealed": Kind(
        status=HTTPStatus.CONFLICT,
        title="Not sealed yet",
        explanation="No checkpoint covers the event yet, so there is no proof of it. Ask again "
        "after the time in Retry-After; if it stays so, the worker does not run (see /readyz).",
    ),
    "damaged-trail": Kind(
        status=HTTPStatus.CONFLICT,
        title="Damaged trail",
        explanation="Rows of the trail are missing or were changed, so no answer would hold. "
        "`auditspan verify` reports them.",
    ),
    "purge-refused": Kind(
        status=HTTPStatus.CONFLICT,
        title="Purge not authorised",
        explanation="The trail or the live tables fail verification, or changes wait to be "
        "recorded; `detail` says which, and nothing was authorised. See docs/errors/retention.md.",
    ),
    "stale": Kind(
        status=HTTPStatus.PRECONDITION_FAILED,
        title="Stale version",
        explanation="The object has changed since it was read. Read it again and repeat the change "
        "with the new ETag in If-Match.",
    ),
    "idempotency-key-reused": Kind(
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        title="Idempotency key in use",
        explanation="The key was sent before with another path or body. Repeat a request "
        "unchanged, and use a new key for a new one.",
    ),
    "invalid-members": Kind(
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        title="Invalid members",
        explanation="`errors` lists the invalid members of the body and the reason for each.",
    ),
    "precondition-required": Kind(
        status=HTTPStatus.PRECONDITION_REQUIRED,
        title="If-Match is missing",
        explanation="A change requires If-Match with the ETag that was read, to prevent lost "
        "updates (RFC 6585), or `*` to change any version.",
    ),
    "too-many-requests": Kind(
        status=HTTPStatus.TOO_MANY_REQUESTS,
        title="Too many requests",
        explanation="The key has sent more requests than AUDITSPAN_RATE_LIMIT permits, or the "
        "client has failed to authenticate more often than AUDITSPAN_FAILURE_LIMIT permits. Send "
        "the request again after the time in Retry-After.",
    ),
    "unavailable": Kind(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="Temporarily unavailable",
        explanation="The database, or the audit trail in it, cannot be written. Nothing was "
        "changed; send the request again after the time in Retry-After.",
    ),
    "outcome-unknown": Kind(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="Outcome unknown",
        explanation="The database connection was lost during COMMIT. Either the change was made "
        "with its audit row, or neither was. Read the object before you send the request again.",
    ),
}

pages = Blueprint("problems", __name__)


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it a problem)
    """Error that is sent to the client as a problem document."""

    def __init__(
        self,
        *,
        status: int,
        title: str,
        detail: str,
        kind: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = int(status)
        self.title = title
        self.detail = detail
        self.kind = kind
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    @classmethod
    def of(
        cls,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Problem:
        """Create a problem of a kind that is explained under `/problems/`."""
        known = KINDS[kind]
        return cls(
            status=known.status,
            title=known.title,
            detail=detail,
            kind=kind,
            errors=errors,
            headers=headers,
        )

    def response(self) -> Response:
        """Return the problem document, with the current trace id."""
        members: dict[str, Any] = {
            "type": url_for("problems.explain", kind=self.kind) if self.kind else "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "trace_id": _trace_id(),
        }
        if self.errors:
            members["errors"] = [asdict(error) for error in self.errors]
        body = json.dumps(members, ensure_ascii=False) + "\n"
        return Response(body, self.status, self.headers, content_type=MEDIA_TYPE)


@pages.get("/problems/<kind>")
def explain(kind: str) -> dict[str, Any]:
    """Return the explanation of this kind of problem."""
    known = KINDS.get(kind)
    if known is None:
        raise Problem.of("not-found", "No problem has this kind.")
    return {"type": url_for("problems.explain", kind=kind), **asdict(known)}


def not_sealed(detail: str) -> Problem:
    """Return the problem of an event, or a trail, that no checkpoint covers yet."""
    return Problem.of("not-sealed", detail, headers={"Retry-After": "1"})


def _trace_id() -> str | None:
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None
