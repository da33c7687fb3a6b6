"""`auditspan purge`: removal of the rows that an event authorises."""

from __future__ import annotations

import click

from auditspan.cli.commands.console import json_option, print_object, say
from auditspan.cli.commands.progress import progress_bar
from auditspan.cli.commands.target import Target, pass_target
from auditspan.cli.group import data_option
from auditspan.format import counted
from auditspan.trail.settings import sink_names


@click.command()
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait so long until every sink has confirmed the authorisation.",
)
@json_option
@data_option
@pass_target
def purge(target: Target, *, wait: float, as_json: bool) -> None:
    """Remove the old events that `retain` has authorised.

    The leaves, checkpoints and proofs stay, so that `verify` still checks the whole trail. On
    PostgreSQL, connect as a role that may execute auditspan_purge and records nothing
    (deploy/postgres/grants.sql). An interrupted purge is resumed by running it again.
    """
    with target.acting() as (trail, _), progress_bar() as progress:
        report = trail.retention.with_mac_keys(target.mac_keys()).purge(
            sinks=sink_names(target.settings), wait=wait, progress=progress
        )
    if as_json:
        print_object(report.resource())
        return
    for name in report.partitions:
        say(f"dropped {name}")
    if report.event_id is None:
        say("nothing to remove: no authorised purge has rows left")
    else:
        say(f"{counted(report.removed, 'event')} removed, as authorised by event {report.event_id}")
