"""Authorisation of a purge: the checks, the baselines and the event.

    1. check       the rows are as they were sealed, and the live tables match the trail
    2. plan        which rows may go
    3. baseline    record the state of every object whose history would lose its beginning
    4. record      the event `trail.purge`

Each step can be repeated: an interrupted run leaves at most baselines, which the next run finds.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from auditspan.capture import Capture
from auditspan.errors import RetentionError
from auditspan.format import MacKeys, counted
from auditspan.reading.replay import object_types
from auditspan.reading.states import Progress, record_baseline
from auditspan.storage import PURGING, snapshot, staging_of
from auditspan.trail.retention.plan import RetentionPlan, plan_retention
from auditspan.verify import check_state, verify_trail


def prepare(
    session: Session,
    engine: Engine,
    capture: Capture,
    before: datetime,
    *,
    sinks: Collection[str] = (),
    keys: MacKeys = None,
    progress: Progress | None = None,
) -> RetentionPlan:
    """Run steps 1 to 3; return the plan, of no rows if none can be removed.

    Raises:
        RetentionError: the trail or the live tables fail the checks, or other programs' changes
            wait to be recorded; nothing was written.
    """
    with snapshot(engine) as connection:
        plan = plan_retention(connection, capture.tables, before, sinks=sinks, keys=keys)
        if not plan.rows or plan.is_authorised:
            return plan
        _require_drained(connection, capture)
        _require_verified(connection, capture, keys)
        _require_state(connection, capture, keys)
    if _has_models(capture):
        record_baseline(session, capture, (), since=plan.size, progress=progress)
    return plan


def _require_drained(connection: Connection, capture: Capture) -> None:
    staging = staging_of(capture.metadata)
    if staging is None:
        return
    if waiting := PURGING.of(connection).count_waiting(connection, staging):
        raise RetentionError(
            f"{counted(waiting, 'change')} of other programs not recorded yet: let the worker "
            "record them, and retry"
        )


def _require_verified(connection: Connection, capture: Capture, keys: MacKeys) -> None:
    report = verify_trail(connection, capture.tables, keys)
    if not report.ok:
        raise RetentionError(
            f"the trail fails verification ({report.findings[0].detail}): a purge would remove the "
            "evidence; run `auditspan verify`"
        )


def _require_state(connection: Connection, capture: Capture, keys: MacKeys) -> None:
    """Refuse a baseline of live tables that differ from the trail."""
    if not _has_models(capture):
        return
    state = check_state(connection, capture.tables, capture.metadata, mac_key=keys)
    if state.events and not state.ok:
        raise RetentionError(
            "the live tables do not match the trail, so that their state cannot replace earlier "
            "events: run `auditspan verify --state`, and `baseline` for rows older than the trail"
        )


def _has_models(capture: Capture) -> bool:
    return bool(object_types(capture.metadata, required=False))
