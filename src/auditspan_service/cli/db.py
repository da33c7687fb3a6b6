"""`auditspan db` of the service: also its migrations."""

from __future__ import annotations

from dataclasses import asdict

import click

from auditspan.cli import data_option
from auditspan.cli.commands import db_of_trail, json_option, print_result
from auditspan_service.cli.database import opened_engine
from auditspan_service.config import load_settings
from auditspan_service.database.data_directory import close_data_dir
from auditspan_service.database.schema import upgrade as upgrade_schema


@click.group(commands=db_of_trail.commands)
def db() -> None:
    """Migrate, check and repair the database schema."""


@db.command()
@json_option
@data_option
def upgrade() -> None:
    """Apply the pending migrations, all or none."""
    settings = load_settings()
    close_data_dir(settings, say=lambda text: click.echo(text, err=True))
    with opened_engine(settings) as engine:
        done = upgrade_schema(engine)
    line = f"Nothing to do: the database is already at {done.after}."
    if done.applied:
        line = f"Applied {', '.join(done.applied)}; the database is at {done.after}."
    print_result(asdict(done), [line])
