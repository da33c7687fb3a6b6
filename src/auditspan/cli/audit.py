"""`flask audit`: the commands of a trail inside another command line."""

from __future__ import annotations

from collections.abc import Callable

import click

from auditspan.cli.group import Commands, set_target, use_umask
from auditspan.cli.table import COMMANDS


def audit_commands(make_target: Callable[[], object]) -> click.Group:
    """Return the group `audit` with every command of a trail.

    Args:
        make_target: returns the target of a command.
    """

    @click.group("audit", cls=Commands, lazy=COMMANDS)
    @click.pass_context
    def audit(context: click.Context) -> None:
        """Read, verify and export the audit trail."""
        use_umask(context)
        set_target(context, make_target)

    return audit
