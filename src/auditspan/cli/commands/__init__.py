"""The commands of a trail, their target, and the output that they share."""

from __future__ import annotations

from auditspan.cli.commands.application import ApplicationTarget
from auditspan.cli.commands.console import (
    FOUND,
    Failure,
    database_reason,
    json_option,
    print_object,
    say,
    say_lines,
)
from auditspan.cli.commands.db import db
from auditspan.cli.commands.failures import failure
from auditspan.cli.commands.keys import keys
from auditspan.cli.commands.starting import await_ready
from auditspan.cli.commands.table import print_rows
from auditspan.cli.commands.target import ACTOR, Events, Schema, Search, Target, Trail
from auditspan.cli.commands.worker import stop_signal

__all__ = [
    "ACTOR",
    "FOUND",
    "ApplicationTarget",
    "Events",
    "Failure",
    "Schema",
    "Search",
    "Target",
    "Trail",
    "await_ready",
    "database_reason",
    "db",
    "failure",
    "json_option",
    "keys",
    "print_object",
    "print_rows",
    "say",
    "say_lines",
    "stop_signal",
]
