"""`auditspan erase`: erasure of a subject's values from the trail."""

from __future__ import annotations

import click

from auditspan.cli.commands.console import json_option, print_object, say
from auditspan.cli.commands.target import Target, pass_target
from auditspan.cli.group import data_option
from auditspan.format import counted
from auditspan.trail.erasure import Erasure


@click.command()
@click.argument("subject_type", metavar="TYPE")
@click.argument("subject_id", metavar="ID")
@click.option("--reason", help="The reason, which is recorded.")
@click.option("--dry-run", is_flag=True, help="Only count the values.")
@json_option
@data_option
@pass_target
def erase(  # noqa: PLR0913 (one for each argument and option)
    target: Target,
    subject_type: str,
    subject_id: str,
    *,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Erase the erasable values of a subject.

    These are the values of columns that a policy makes erasable, and of the label, address and
    agent of an actor. The seal, proofs and the collector's files stay valid. The erasure is
    recorded as an event, `trail.erased`; it cannot be undone. The live tables do not change: change
    or delete the rows of the subject there first.
    """
    if not dry_run and not reason:
        raise click.UsageError("An erasure requires --reason, which is recorded.")
    with target.writing() as (trail, session):
        found = trail.erase(session, subject_type, subject_id, reason=reason, dry_run=dry_run)
    if as_json:
        print_object({**found.to_dict(), "dry_run": dry_run})
    else:
        _print(found, dry_run=dry_run)


def _print(found: Erasure, *, dry_run: bool) -> None:
    about = f"{found.subject_type} {found.subject_id}"
    what = f"{counted(found.values, 'value')} of {about} in {counted(found.events, 'event')}"
    if not found.values:
        say(f"The trail has no erasable value of {about}.")
    elif dry_run:
        say(f"To be erased: {what}.")
        say("Live tables are not changed: change or delete the rows of the subject there first.")
    else:
        say(f"Erased: {what}.")
        say(f"Recorded as event {found.event_id}.")
