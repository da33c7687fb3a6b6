"""`auditspan hold`: legal holds."""

from __future__ import annotations

from datetime import datetime

import click

from auditspan.cli.commands.console import print_result, say, wants_json
from auditspan.cli.commands.table import print_rows
from auditspan.cli.commands.target import Target, on_trail
from auditspan.cli.commands.times import as_time
from auditspan.format import Target as EventTarget
from auditspan.trail.retention import Hold


@click.group()
def hold() -> None:
    """Place, list and release legal holds.

    No purge removes an event under a hold, nor any later event.
    """


@hold.command()
@click.option("--target", "of", nargs=2, metavar="TYPE ID", help="Hold events on this target.")
@click.option("--target-type", metavar="TYPE", help="Hold events on targets of this type.")
@click.option("--actor", help="Hold events of the actor with this id or label.")
@click.option("--before", callback=as_time, metavar="TIME", help="Hold events before this time.")
@click.option("--reason", required=True, help="The reason, which is recorded.")
@on_trail
def add(
    target: Target,
    *,
    of: tuple[str, str] | None,
    target_type: str | None,
    actor: str | None,
    before: datetime | None,
    reason: str,
) -> None:
    """Place a legal hold on the events that meet all criteria.

    Without criteria, every event is held.
    """
    if of and target_type:
        raise click.UsageError("Give one of --target and --target-type.")
    held = EventTarget(type=of[0], id=of[1]) if of else None
    if target_type:
        held = EventTarget(type=target_type, id=None)
    with target.writing() as (trail, session):
        retention = trail.retention
        id_ = retention.hold(session, reason=reason, target=held, actor=actor, until=before)
    placed = f"The hold {id_} is placed; release it with `{target.command} hold release {id_}`."
    print_result({"id": id_}, [placed])


@hold.command("list")
@on_trail
def list_(target: Target) -> None:
    """List the active legal holds, oldest first."""
    with target.acting() as (trail, session):
        found = trail.retention.with_mac_keys(target.mac_keys()).holds(session)
    print_rows([one.resource() if wants_json() else _row(one) for one in found])
    if not found:
        say("No hold is active.", err=True)


@hold.command()
@click.argument("hold_id", metavar="ID")
@click.option("--reason", required=True, help="The reason, which is recorded.")
@on_trail
def release(target: Target, hold_id: str, *, reason: str) -> None:
    """Release a legal hold."""
    with target.writing() as (trail, session):
        retention = trail.retention.with_mac_keys(target.mac_keys())
        event_id = retention.release(session, hold_id.lower(), reason=reason)
    released = [f"The hold {hold_id.lower()} is released."]
    print_result({"id": hold_id.lower(), "event_id": event_id}, released)


def _row(hold: Hold) -> dict[str, object]:
    held = hold.criteria.members()
    of = " ".join(str(held[name]) for name in ("target_type", "target_id") if held[name])
    return {
        "id": hold.id,
        "placed_at": hold.placed_at,
        "target": of,
        "actor": held["actor"],
        "before": held["until"],
        "placed_by": hold.actor,
        "reason": hold.reason,
    }
