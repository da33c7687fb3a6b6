"""`auditspan erase`: erasure of a subject's values from the trail."""

from __future__ import annotations

from collections.abc import Iterator

import click

from auditspan.cli.commands.console import print_result
from auditspan.cli.commands.target import Target, on_trail
from auditspan.format import counted
from auditspan.trail.erasure import Erasure


@click.command()
@click.argument("subject_type", metavar="TYPE")
@click.argument("subject_id", metavar="ID")
@click.option("--reason", help="The reason, which is recorded; required unless --dry-run.")
@click.option("--dry-run", is_flag=True, help="Only count the values.")
@on_trail
def erase(
    target: Target, subject_type: str, subject_id: str, *, reason: str | None, dry_run: bool
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
    print_result({**found.to_dict(), "dry_run": dry_run}, _lines(found, dry_run=dry_run))


def _lines(found: Erasure, *, dry_run: bool) -> Iterator[str]:
    about = f"{found.subject_type} {found.subject_id}"
    what = f"{counted(found.values, 'value')} of {about} in {counted(found.events, 'event')}"
    if not found.values:
        yield f"The trail has no erasable value of {about}."
    elif dry_run:
        yield f"To be erased: {what}."
        yield "Live tables are not changed: change or delete the rows of the subject there first."
    else:
        yield f"Erased: {what}."
        yield f"Recorded as event {found.event_id}."
