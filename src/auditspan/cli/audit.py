"""`flask audit`: the commands of a trail inside another command line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click

from auditspan.cli.group import Commands, use_umask
from auditspan.cli.options import bind_option, set_target
from auditspan.cli.table import COMMANDS


def audit_commands(make_target: Callable[[str | None], object]) -> click.Group:
    """Return the group `audit` with every command of a trail.

    Args:
        make_target: returns the target of a command, in the database of a bind or in the main one.
    """

    @click.group("audit", cls=Commands, lazy=COMMANDS)
    @bind_option
    @click.pass_context
    def audit(context: click.Context, bind: str | None) -> None:
        """Read, verify and export the audit trail."""
        use_umask(context)
        set_target(context, partial(make_target, bind))

    return audit
