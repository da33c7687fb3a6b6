"""Criteria of events as options of commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from auditspan.cli.commands.times import as_time
from auditspan.cli.commands.trace import as_trace_id
from auditspan.errors import AuditConfigError
from auditspan.format import OUTCOMES
from auditspan.reading import require_possible
from auditspan.storage import EXCLUDABLE, EventFilter

_OPTIONS = (
    click.option("--actor", help="Only events of the actor with this id or label."),
    click.option("--on-behalf-of", help="Only events on behalf of this id or label."),
    click.option("--action", help="Only events with this action, such as user.update or user.*."),
    click.option("--target-type", help="Only events on targets of this type, such as user."),
    click.option("--target-id", help="Only events on the target with this id."),
    click.option("--field", help="Only events that changed this column."),
    click.option("--outcome", type=click.Choice(OUTCOMES), help="Only events with this outcome."),
    click.option("--until", callback=as_time, metavar="TIME", help="Only events before this time."),
    click.option("--tx-id", help="Only events of this transaction."),
    click.option("--trace-id", callback=as_trace_id, help="Only events of this trace."),
    click.option("--request-id", help="Only events of this HTTP request."),
    click.option("--tenant", help="Only events of this tenant."),
    click.option("--text", help="Only events whose body contains this text."),
    *(
        click.option(
            f"--not-{name.replace('_', '-')}",
            callback=as_trace_id if name == "trace_id" else None,
            help=f"Leave out events that --{name.replace('_', '-')} would find.",
        )
        for name in EXCLUDABLE
    ),
)
_EXCLUSIONS = tuple(f"not_{name}" for name in EXCLUDABLE)


def criteria(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each criterion of events but `--since`, which commands read differently."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def filter_of(wanted: dict[str, Any]) -> EventFilter:
    """Return the filter of these options.

    Raises:
        click.UsageError: no event can pass it.
    """
    given = {name.removeprefix("not_"): wanted.pop(name) for name in _EXCLUSIONS}
    exclude = EventFilter(**given) if any(given.values()) else None
    asked = EventFilter(**wanted, exclude=exclude)
    try:
        require_possible(asked)
    except AuditConfigError as error:
        raise click.UsageError(error.sentence) from error
    return asked
