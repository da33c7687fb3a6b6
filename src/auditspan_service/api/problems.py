"""Problem documents (RFC 9457), the one shape of every error.

`type` is `about:blank` where the status says it all, else the path of a page that explains it.
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
    """One kind of problem: what a program decides by, and what its page says."""

    status: int
    title: str
    explanation: str


KINDS: Mapping[str, Kind] = {
    "malformed-body": Kind(
        status=HTTPStatus.BAD_REQUEST,
        title="The body is not acceptable JSON",
        explanation="Bodies are JSON (RFC 8259) in UTF-8, without duplicate names, NaN, Infinity, "
        "numbers that a double cannot hold, NUL characters or lone surrogates.",
    ),
    "malformed-query": Kind(
        status=HTTPStatus.BAD_REQUEST,
        title="The query is not acceptable",
        explanation="Query parameters must be known, given once and well-formed. A cursor is taken "
        "from the `next` of a list as it stands there, and sent with the same filters.",
    ),
    "unauthenticated": Kind(
        status=HTTPStatus.UNAUTHORIZED,
        title="Who calls is not known",
        explanation="Send `Authorization: Bearer ask_…` with a key from `auditspan keys create`.",
    ),
    "forbidden": Kind(
        status=HTTPStatus.FORBIDDEN,
        title="The key does not allow this",
        explanation="The key is valid, and lacks the scope that this route needs, or that a change "
        "of an administrator needs.",
    ),
    "not-found": Kind(
        status=HTTPStatus.NOT_FOUND,
        title="There is no such thing",
        explanation="Nothing has this id; it may have been deleted.",
    ),
    "duplicate": Kind(
        status=HTTPStatus.CONFLICT,
        title="The name is taken",
        explanation="Another one has the name that must be unique.",
    ),
    "stale": Kind(
        status=HTTPStatus.PRECONDITION_FAILED,
        title="It has changed since it was read",
        explanation="Read it again, and repeat the change with the new ETag in If-Match.",
    ),
    "invalid-members": Kind(
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        title="Members of the body are invalid",
        explanation="`errors` names each member and says what it must be.",
    ),
    "precondition-required": Kind(
        status=HTTPStatus.PRECONDITION_REQUIRED,
        title="If-Match is missing",
        explanation="A change needs If-Match with the ETag that was read, so that nobody's change "
        "is lost (RFC 6585), or `*` to change it whatever it is.",
    ),
    "unavailable": Kind(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="Not available now",
        explanation="The database, or the audit trail in it, cannot be written. Nothing was "
        "changed; the same request may be sent again after the time in Retry-After.",
    ),
    "outcome-unknown": Kind(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="Nobody knows whether it happened",
        explanation="The database was lost while it committed. The change was made with its audit "
        "row, or neither was. Read what it was about before you send the request again.",
    ),
}

pages = Blueprint("problems", __name__)


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it a problem)
    """An error as the client gets it."""

    def __init__(  # noqa: PLR0913 (each is a member of the document)
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
        """A problem of a kind that is explained under `/problems/`."""
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
        """The document, with the trace in which it happened."""
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
    """What a problem of this kind means and what to do."""
    known = KINDS.get(kind)
    if known is None:
        raise Problem.of("not-found", "There is no problem of this kind.")
    return {"type": url_for("problems.explain", kind=kind), **asdict(known)}


def _trace_id() -> str | None:
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None
