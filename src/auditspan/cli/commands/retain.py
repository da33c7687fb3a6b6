"""`auditspan retain`: authorisation of a purge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click

from auditspan.cli.commands.console import print_result
from auditspan.cli.commands.progress import progress_bar
from auditspan.cli.commands.target import Target, on_trail
from auditspan.cli.commands.times import as_age, as_time
from auditspan.format import counted
from auditspan.trail.retention import RetentionPlan
from auditspan.trail.settings import sink_names


@click.command()
@click.option("--before", callback=as_time, metavar="TIME", help="Remove events recorded before.")
@click.option(
    "--keep",
    callback=as_age,
    metavar="DAYS",
    help="Keep the events of the last days, such as 400d.",
)
@click.option("--reason", help="The reason, which is recorded; required unless --dry-run.")
@click.option("--dry-run", is_flag=True, help="Only show which events could be removed.")
@on_trail
def retain(
    target: Target,
    *,
    before: datetime | None,
    keep: timedelta | None,
    reason: str | None,
    dry_run: bool,
) -> None:
    """Authorise the removal of old events.

    Verifies the trail and the live tables, records the present state of every object whose history
    loses its beginning (`type.baseline`), and then the event trail.purge. Nothing is removed yet:
    run `auditspan purge` when the event is delivered.

    Only whole ranges at the beginning of the trail are removed: older than TIME, sealed, confirmed
    by every sink, and before the first event under a legal hold. TIME is a date or time in ISO
    8601, in UTC unless it has an offset.
    """
    cut = _cut(before, keep)
    sinks = sink_names(target.settings)
    with target.acting() as (trail, session), progress_bar() as progress:
        retention = trail.retention.with_mac_keys(target.mac_keys())
        if dry_run:
            plan = retention.plan(cut, sinks=sinks)
        elif not reason:
            raise click.UsageError("--reason is required: it is recorded with the purge.")
        else:
            plan = retention.authorise(
                session, before=cut, reason=reason, sinks=sinks, progress=progress
            )
    lines = _lines(plan, target.command, dry_run=dry_run)
    print_result({**plan.resource(), "dry_run": dry_run}, lines)


def _cut(before: datetime | None, keep: timedelta | None) -> datetime:
    if before is None and keep is not None:
        return datetime.now(UTC) - keep
    if before is not None and keep is None:
        return before
    raise click.UsageError("Give one of --before and --keep.")


def _lines(plan: RetentionPlan, command: str, *, dry_run: bool) -> Iterator[str]:
    for limit in plan.kept:
        yield f"kept from sequence number {limit.size} on: {limit.reason}"
    if not plan.rows:
        yield f"nothing to remove: no event before {plan.before} can go"
        return
    rows = f"{counted(plan.rows, 'event')} before {plan.before}, below sequence number {plan.size},"
    if dry_run and not plan.is_authorised:
        yield f"{rows} could be removed"
        return
    yield f"{rows} may be removed"
    yield f"run `{command} purge` when the event trail.purge is delivered"
