"""`auditspan purge`: removal of the rows that an event authorises."""

from __future__ import annotations

import click

from auditspan.cli.commands.console import print_result
from auditspan.cli.commands.progress import progress_bar
from auditspan.cli.commands.target import Target, on_trail
from auditspan.format import counted
from auditspan.trail.settings import sink_names


@click.command()
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait up to this long for every sink to confirm the authorisation.",
)
@on_trail
def purge(target: Target, *, wait: float) -> None:
    """Remove the old events that `retain` has authorised.

    The leaves, checkpoints and proofs stay, so that `verify` still checks the whole trail. On
    PostgreSQL, connect as a role that may execute auditspan_purge and records nothing
    (deploy/postgres/grants.sql). An interrupted purge is resumed by running it again.
    """
    with target.acting() as (trail, _), progress_bar() as progress:
        done = trail.retention.with_mac_keys(target.mac_keys()).purge(
            sinks=sink_names(target.settings), wait=wait, progress=progress
        )
    removed = f"{counted(done.removed, 'event')} removed, as authorised by event {done.event_id}"
    if done.event_id is None:
        removed = "nothing to remove: no authorised purge has rows left"
    print_result(done.resource(), [*(f"dropped {name}" for name in done.partitions), removed])
