"""The commands of a trail, their target, and the output that they share."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from auditspan.cli.commands.console import (
    FOUND,
    Failure,
    database_reason,
    json_option,
    print_object,
    print_result,
    say,
    say_lines,
    wants_json,
)
from auditspan.cli.commands.times import as_time

if TYPE_CHECKING:
    from auditspan.cli.commands.application import ApplicationTarget
    from auditspan.cli.commands.db import db as db_of_trail
    from auditspan.cli.commands.failures import failure
    from auditspan.cli.commands.keys import keys as keys_of_trail
    from auditspan.cli.commands.starting import await_ready
    from auditspan.cli.commands.stop_request import stop_signal
    from auditspan.cli.commands.table import print_rows
    from auditspan.cli.commands.target import ACTOR, Schema, Search, Target, Trail

__all__ = [
    "ACTOR",
    "FOUND",
    "ApplicationTarget",
    "Failure",
    "Schema",
    "Search",
    "Target",
    "Trail",
    "as_time",
    "await_ready",
    "database_reason",
    "db_of_trail",
    "failure",
    "json_option",
    "keys_of_trail",
    "print_object",
    "print_result",
    "print_rows",
    "say",
    "say_lines",
    "stop_signal",
    "wants_json",
]

_PLACES = {
    "ACTOR": "target:ACTOR",
    "ApplicationTarget": "application:ApplicationTarget",
    "Schema": "target:Schema",
    "Search": "target:Search",
    "Target": "target:Target",
    "Trail": "target:Trail",
    "await_ready": "starting:await_ready",
    "db_of_trail": "db:db",
    "failure": "failures:failure",
    "keys_of_trail": "keys:keys",
    "print_rows": "table:print_rows",
    "stop_signal": "stop_request:stop_signal",
}
"""Places of the names that are imported on first use, because what they need is slow to import."""

if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Import a name (PEP 562)."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = resolve_name(f"{__name__}.{_PLACES[name]}")
        return found
