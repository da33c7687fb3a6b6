"""The command line of a trail: on any application, by `--app` or `flask audit`.

Importing it imports no command and needs no extra.
"""

from __future__ import annotations

from auditspan.cli.audit import audit_commands
from auditspan.cli.group import Commands, Lazy, set_app, use_umask
from auditspan.cli.options import bind_option, data_option, set_target
from auditspan.cli.table import COMMANDS

__all__ = [
    "COMMANDS",
    "Commands",
    "Lazy",
    "audit_commands",
    "bind_option",
    "data_option",
    "set_app",
    "set_target",
    "use_umask",
]
