"""`auditspan doctor`: what is wrong with my set-up, in sentences."""

from __future__ import annotations

from pathlib import Path

import click
from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.exc import SQLAlchemyError

from auditspan.guards import check_guards
from auditspan.storage import audit_tables
from auditspan_service.cli.console import (
    COULD_NOT,
    FOUND,
    data_option,
    database_reason,
    json_option,
    print_object,
    say,
)
from auditspan_service.cli.database import opened_engine, schema_state
from auditspan_service.config import load_settings
from auditspan_service.database.engine import snapshot
from auditspan_service.doctor.checks import (
    Examination,
    examine_collector,
    examine_collector_config,
    examine_keys,
    examine_sink,
    examine_workers,
)
from auditspan_service.errors import SchemaError
from auditspan_service.files.up_file import as_running
from auditspan_service.models import Base

_MAY_INSERT = text("SELECT has_any_column_privilege(CAST(:table AS text), 'INSERT')")


@click.command()
@click.option(
    "--collector-config",
    "collector_configs",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The collector's configuration; several as it gets them.  [default: otel-collector.yaml]",
)
@json_option
@data_option
def doctor(*, collector_configs: tuple[Path, ...], as_json: bool) -> None:
    """Tell what is wrong with the set-up: 0 nothing, 1 something, 2 could not look at all of it.

    Database, schema, triggers, the role that is connected, durability, keys, sink, and the way of
    audit records through the collector. Run it as those run who serve, with their settings. Beside
    a running `auditspan up` the sink is the one that `up` delivers to.
    """
    settings = as_running(load_settings())
    examination = Examination()
    with opened_engine() as engine:
        _examine_database(examination, engine)
    examine_keys(examination, settings)
    examine_sink(examination, settings)
    if settings.sink == "otlp" or collector_configs:
        examine_collector_config(examination, settings, collector_configs)
    if settings.sink == "otlp":
        examine_collector(examination, settings)
    _print(examination, as_json=as_json)
    if not examination.ok:
        raise SystemExit(COULD_NOT if examination.unchecked else FOUND)


def _examine_database(examination: Examination, engine: Engine) -> None:
    """Reachable, migrated, and guarding the trail; and what this role is for."""
    try:
        state = schema_state(engine)
        if not state.is_current:
            examination.add("schema", state.sentence())
            return
        with snapshot(engine) as connection:
            tables = audit_tables(Base.metadata)
            for finding in check_guards(connection, tables):
                examination.add(finding.kind, finding.detail)
            examination.writes_events = _may_insert(connection, tables.event)
            examination.writes_seals = _may_insert(connection, tables.leaf)
        with engine.connect() as connection:
            examine_workers(examination, connection, tables)
    except SchemaError as error:
        examination.add("schema", error.message)
    except SQLAlchemyError as error:
        examination.unchecked.append(
            f"The database was not checked, since it did not answer: {database_reason(error)}. See "
            "AUDITSPAN_DATABASE_URL."
        )


def _may_insert(connection: Connection, table: Table) -> bool:
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.execute(_MAY_INSERT, {"table": table.name}).scalar_one())


def _print(examination: Examination, *, as_json: bool) -> None:
    if as_json:
        print_object(examination.to_dict())
        return
    for found in examination.found:
        say(f"{found.kind}: {found.detail}")
    for lease in examination.workers:
        if lease.is_current:
            say(f"{lease.name}: {lease.description}")
    for sentence in examination.unchecked:
        say(f"not checked: {sentence}")
    if examination.ok:
        say("Nothing is wrong.")
