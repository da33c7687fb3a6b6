"""`auditspan db`: the database schema and its guards."""

from __future__ import annotations

from dataclasses import asdict

import click
from sqlalchemy import Engine, text

from auditspan.capture import busy
from auditspan.cli.commands.console import print_result
from auditspan.cli.commands.restored import restored
from auditspan.cli.commands.target import Target, on_trail
from auditspan.seal.guards import Finding, check_guards, restore_guards
from auditspan.storage import PARTITIONS, dialect_of, snapshot


@click.group()
def db() -> None:
    """Check and repair the database schema."""


@db.command()
@on_trail
def check(target: Target) -> None:
    """Check that the database has this release's schema and guards.

    Exits with 0 if it does, 1 if it does not, and 2 if the check failed. Excess privileges of the
    connected role are reported but do not fail the check, because the owner often runs it after an
    upgrade. `auditspan doctor` checks the role of the service.
    """
    with target.opened_engine() as engine:
        state = target.schema(engine)
        findings = _findings(target, engine) if state.is_current else []
    is_sound = not any(f.breaks_a_promise and f.kind != "role" for f in findings)
    ok, found = state.is_current and is_sound, [asdict(finding) for finding in findings]
    lines = [state.sentence, *(finding.detail for finding in findings)]
    print_result({"ok": ok, **state.members, "findings": found}, lines, ok=ok)


@db.command()
@on_trail
def guard(target: Target) -> None:
    """Restore missing append-only triggers.

    Run it as the owner of the tables. Rows may have been changed while a trigger was missing: run
    `auditspan verify` as well.
    """
    with target.opened_engine() as engine:
        target.require_schema(engine)
        before = [finding for finding in _findings(target, engine) if finding.kind == "trigger"]
        with engine.begin() as connection:
            restore_guards(connection, target.tables)
    found = [finding.detail for finding in before]
    done = "The triggers were restored." if before else "The triggers were already in place."
    print_result({"found": found}, [*found, done])


@db.command()
@on_trail
def partition(target: Target) -> None:
    """Partition the trail by month (PostgreSQL).

    Run it as the owner of the tables. Writes block while it runs. Afterwards the worker creates the
    partitions of the coming months. On a trail that is already partitioned, it repairs the
    functions, privileges and triggers of the partitions.
    """
    with target.opened_engine() as engine:
        target.require_schema(engine)
        names, made = _partition(target, engine)
    lines = [f"{name}{'  (created)' if name in made else ''}" for name in names]
    print_result({"made": made, "partitions": names}, lines)


def _partition(target: Target, engine: Engine) -> tuple[list[str], list[str]]:
    """Partition the trail; return the names of all partitions and of the created ones.

    Writers queue behind it, so it waits only briefly for the table.

    Raises:
        AuditConfigError: the database is not PostgreSQL.
    """
    event, leaf, partitions = target.tables.event, target.tables.leaf, PARTITIONS.of(engine)
    with engine.begin() as connection, busy(connection):
        before = [one.bare for one in partitions.partitions_of(connection, event)]
        statements = partitions.partitioning(event, leaf, dialect_of(connection))
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        for statement in statements:
            connection.execute(statement)
        after = [one.bare for one in partitions.partitions_of(connection, event)]
    return after, [name for name in after if name not in before]


db.add_command(restored)


def _findings(target: Target, engine: Engine) -> list[Finding]:
    with snapshot(engine) as connection:
        return check_guards(connection, target.tables)
