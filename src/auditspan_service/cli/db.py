"""`auditspan db`: the schema of the database."""

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
    """Bring the database to this release's schema, or see where it stands."""


@db.command()
@json_option
@data_option
def upgrade(*, as_json: bool) -> None:
    """Run the steps that are missing, all or none."""
    close_data_dir(load_settings(), say=lambda text: click.echo(text, err=True))
    with opened_engine() as engine:
        done = upgrade_schema(engine)
    if as_json:
        print_object({"before": done.before, "after": done.after, "applied": list(done.applied)})
    elif done.applied:
        say(f"Applied {', '.join(done.applied)}; the database is at {done.after}.")
    else:
        say(f"Nothing to do: the database is at {done.after} already.")


@db.command()
@json_option
@data_option
def check(*, as_json: bool) -> None:
    """Tell whether the database has this release's schema and guards: 0 yes, 1 no, 2 cannot tell.

    What the connected role could do is told and does not count: this is often the owner, who has
    just upgraded. `auditspan doctor` asks as those do who serve.
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
    """Put the triggers back that keep the audit tables append-only; as the owner of the tables.

    Whoever took one away may have changed rows: run `auditspan verify` as well.
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
    say("The triggers are in place." if before else "The triggers were in place already.")


@db.command()
@json_option
@data_option
def partition(*, as_json: bool) -> None:
    """Partition the trail by month, on PostgreSQL; as the owner of the tables.

    Writers wait while it works. From then on the worker makes the partitions of the next months.
    Where the trail is partitioned, functions, rights and triggers of its partitions are mended.
    """
    with opened_engine() as engine:
        require_current(engine)
        done = partition_trail(engine)
    if as_json:
        print_object({"made": list(done.made), "partitions": list(done.partitions)})
        return
    for name in done.partitions:
        say(f"{name}{'  (made)' if name in done.made else ''}")


def _findings(engine: Engine) -> list[Finding]:
    with snapshot(engine) as connection:
        return check_guards(connection, audit_tables(Base.metadata))
