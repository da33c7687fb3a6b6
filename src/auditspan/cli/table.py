"""The commands of a trail, with the first sentence of their help."""

from __future__ import annotations

from collections.abc import Mapping

from auditspan.cli.group import Lazy

_HELP = {
    "init": "Create the keys, tables and guards of an application; safe to repeat.",
    "worker": "Seal committed rows and relay them to the sink until stopped.",
    "db": "Check and repair the database schema.",
    "keys": "Manage the MAC key and the erasure key of the trail.",
    "doctor": "Check the set-up and report its problems.",
    "events": "Show events, newest last.",
    "show": "Show one event with all its members.",
    "history": "Show every event on one target, oldest first.",
    "trace": "Show the telemetry of one trace as a tree.",
    "verify": "Verify that every sealed row is unchanged.",
    "reconcile": "Compare the table with the collector's files, a log backend or a Kafka topic.",
    "export": "Write the sealed trail as OTLP JSON lines, or in another form.",
    "checkpoint": "Print the newest checkpoint or the public keys.",
    "baseline": "Record the rows that are older than the trail.",
    "erase": "Erase the erasable values of a subject.",
    "retain": "Authorise the removal of old events.",
    "purge": "Remove the old events that `retain` has authorised.",
    "hold": "Place, list and release legal holds.",
    "coverage": "Check that every model is audited, or exempt with a reason.",
}
_MODULES = {"show": "events", "history": "events"}
_NAMES = {"coverage": "coverage_"}

COMMANDS: Mapping[str, Lazy] = {
    name: Lazy(
        f"auditspan.cli.commands.{_MODULES.get(name, name)}:{_NAMES.get(name, name)}", sentence
    )
    for name, sentence in _HELP.items()
}
