"""`auditspan db`: the database schema and its guards."""

from __future__ import annotations

import click
from sqlalchemy import Engine

from auditspan.guards import Finding, check_guards, restore_guards
from auditspan.storage import audit_tables
from auditspan_service.cli.console import FOUND, data_option, json_option, print_object, say
from auditspan_service.cli.database import opened_engine, schema_state
from auditspan_service.cli.starting import require_current
from auditspan_service.config import load_settings
from auditspan_service.database.data_directory import close_data_dir
from auditspan_service.database.engine import snapshot
from auditspan_service.database.schema import partition as partition_trail
from auditspan_service.database.schema import upgrade as upgrade_schema
from auditspan_service.models import Base


@click.group()
def db() -> None:
    """Migrate, check and repair the database schema."""


@db.command()
@json_option
@data_option
def upgrade(*, as_json: bool) -> None:
    """Apply the pending migrations, all or none."""
    close_data_dir(load_settings(), say=lambda text: click.echo(text, err=True))
    with opened_engine() as engine:
        done = upgrade_schema(engine)
    if as_json:
        print_object({"before": done.before, "after": done.after, "applied": list(done.applied)})
    elif done.applied:
        say(f"Applied {', '.join(done.applied)}; the database is at {done.after}.")
    else:
        say(f"Nothing to do: the database is already at {done.after}.")


@db.command()
@json_option
@data_option
def check(*, as_json: bool) -> None:
    """Check that the database has this release's schema and guards.

    Exits with 0 if it does, 1 if it does not, and 2 if the check failed. Excess privileges of the
    connected role are reported but do not fail the check, because the owner often runs it after an
    upgrade. `auditspan doctor` checks the role of the service.
    """
    with opened_engine() as engine:
        state = schema_state(engine)
        findings = _findings(engine) if state.is_current else []
    is_sound = not any(f.breaks_a_promise and f.kind != "role" for f in findings)
    if as_json:
        members = {"current": state.current, "head": state.head, "pending": list(state.pending)}
        found = [{"kind": finding.kind, "detail": finding.detail} for finding in findings]
        print_object({"ok": state.is_current and is_sound, **members, "findings": found})
    else:
        for sentence in (state.sentence(), *(finding.detail for finding in findings)):
            say(sentence)
    if not (state.is_current and is_sound):
        raise SystemExit(FOUND)


@db.command()
@json_option
@data_option
def guard(*, as_json: bool) -> None:
    """Restore missing append-only triggers.

    Run it as the owner of the tables. Rows may have been changed while a trigger was missing: run
    `auditspan verify` as well.
    """
    with opened_engine() as engine:
        require_current(engine)
        before = [finding for finding in _findings(engine) if finding.kind == "trigger"]
        with engine.begin() as connection:
            restore_guards(connection, audit_tables(Base.metadata))
    if as_json:
        print_object({"found": [finding.detail for finding in before]})
        return
    for finding in before:
        say(finding.detail)
    say("The triggers were restored." if before else "The triggers were already in place.")


@db.command()
@json_option
@data_option
def partition(*, as_json: bool) -> None:
    """Partition the trail by month (PostgreSQL).

    Run it as the owner of the tables. Writes block while it runs. Afterwards the worker creates the
    partitions of the coming months. On a trail that is already partitioned, it repairs the
    functions, privileges and triggers of the partitions.
    """
    with opened_engine() as engine:
        require_current(engine)
        done = partition_trail(engine)
    if as_json:
        print_object({"made": list(done.made), "partitions": list(done.partitions)})
        return
    for name in done.partitions:
        say(f"{name}{'  (created)' if name in done.made else ''}")


def _findings(engine: Engine) -> list[Finding]:
    with snapshot(engine) as connection:
        return check_guards(connection, audit_tables(Base.metadata))
