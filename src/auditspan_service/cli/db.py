"""`auditspan db`: the schema of the database."""

from __future__ import annotations

import click

from auditspan_service.cli.console import FOUND, json_option, print_object
from auditspan_service.cli.opened import opened_engine, schema_state
from auditspan_service.migrate import upgrade as upgrade_schema


@click.group()
def db() -> None:
    """Bring the database to this release's schema, or see where it stands."""


@db.command()
@json_option
def upgrade(*, as_json: bool) -> None:
    """Run the steps that are missing, all or none."""
    with opened_engine() as engine:
        done = upgrade_schema(engine)
    if as_json:
        print_object({"before": done.before, "after": done.after, "applied": list(done.applied)})
    elif done.applied:
        click.echo(f"Applied {', '.join(done.applied)}; the database is at {done.after}.")
    else:
        click.echo(f"Nothing to do: the database is at {done.after} already.")


@db.command()
@json_option
def check(*, as_json: bool) -> None:
    """Tell whether the database has this release's schema: 0 yes, 1 no, 2 cannot tell."""
    with opened_engine() as engine:
        state = schema_state(engine)
    if as_json:
        members = {"current": state.current, "head": state.head, "pending": list(state.pending)}
        print_object({"ok": state.is_current, **members})
    else:
        click.echo(state.sentence())
    if not state.is_current:
        raise SystemExit(FOUND)
