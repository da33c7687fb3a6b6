"""The check at start that the database guards the trail."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import get_args

from sqlalchemy import Engine

from auditspan.errors import UnprotectedTrailError
from auditspan.seal.guards import Kind, require_guards
from auditspan.storage import AuditTables, snapshot
from auditspan.trail.settings.settings import TrailSettings

_OVERRIDE = "AUDITSPAN_ALLOW_UNGUARDED"


def require_guarded(
    engine: Engine,
    tables: AuditTables,
    settings: TrailSettings,
    *,
    say: Callable[[str], None],
    tolerated: Collection[Kind] = (),
) -> None:
    """Refuse to start on a database on which the trail could be changed or lost.

    Args:
        engine: an engine with the role and session settings of the writers, which are checked.
        tables: the audit tables.
        settings: the settings; `allow_unguarded` turns the refusal into a warning.
        say: called with every sentence that does not prevent the start.
        tolerated: the kinds of findings that are only reported.

    Raises:
        UnprotectedTrailError: the trail is not guarded, and the settings do not allow that.
    """
    let_pass = get_args(Kind) if settings.allow_unguarded else tolerated
    with snapshot(engine) as connection:
        try:
            findings = require_guards(connection, tables, tolerated=let_pass)
        except UnprotectedTrailError as error:
            raise UnprotectedTrailError(
                f"Nothing was started. {error.message} ({_OVERRIDE}=1 overrides this, for "
                "development only.)"
            ) from error
    for finding in findings:
        say(f"WARNING: {finding.detail}")
    if any(finding.breaks_a_promise and finding.kind not in tolerated for finding in findings):
        say(f"WARNING: started anyway, because {_OVERRIDE} is set. Do not keep a trail here.")
