"""`/v1/retention`: what a purge could remove, and its authorisation, for those who purge."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response, jsonify

from auditspan import RetentionError
from auditspan.trail.retention import Retention, RetentionPlan
from auditspan.trail.settings import sink_names
from auditspan_service.accounts.scopes import PURGE
from auditspan_service.api.auth import requires
from auditspan_service.api.body import json_body
from auditspan_service.api.current import services
from auditspan_service.api.problems import Problem
from auditspan_service.api.query import malformed, parameters, time
from auditspan_service.errors import FieldError, InvalidInputError
from auditspan_service.schemas import NewPurge, read

retention = Blueprint("retention", __name__, url_prefix="/v1/retention")


@retention.get("")
@requires(PURGE)
def plan() -> Response:
    """Return which rows are old enough, and what keeps the others; nothing is removed."""
    given = parameters(("before",))
    if "before" not in given:
        raise malformed("before is required: a time (ISO 8601), as in 2026-01-31T12:00:00Z.")
    try:
        found = _retention().plan(time("before", given["before"]), sinks=_sinks())
    except RetentionError as error:
        raise malformed(error.sentence) from error
    return jsonify(found.resource())


@retention.post("")
@requires(PURGE)
def authorise() -> Response:
    """Authorise a purge, unless it is a dry run; repeating the request changes nothing.

    The whole trail and the live tables are verified first. `auditspan purge` removes the rows.
    """
    wanted = read(NewPurge, json_body())
    try:
        found = _planned(wanted) if wanted.dry_run else _authorised(wanted)
    except RetentionError as error:
        raise Problem.of("purge-refused", error.sentence) from error
    return jsonify({**found.resource(), "dry_run": wanted.dry_run})


def _planned(wanted: NewPurge) -> RetentionPlan:
    return _retention().plan(wanted.before, sinks=_sinks())


def _authorised(wanted: NewPurge) -> RetentionPlan:
    if wanted.reason is None:
        missing = FieldError(field="reason", message="is required unless dry_run is true")
        raise InvalidInputError([missing])
    with services().database.sessions() as session:
        found = _retention().authorise(
            session, before=wanted.before, reason=wanted.reason, sinks=_sinks()
        )
    return replace(found, is_authorised=found.is_authorised or found.rows > 0)


def _retention() -> Retention:
    return services().trail.retention.with_mac_keys(services().mac_keys)


def _sinks() -> tuple[str, ...]:
    return tuple(sink_names(services().settings))
