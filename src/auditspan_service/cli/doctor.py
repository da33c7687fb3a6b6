"""`auditspan doctor`: a diagnosis of the set-up, in sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.exc import SQLAlchemyError

from auditspan.dialects import PerDialect
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

_HAS_PRIVILEGE = text("SELECT has_any_column_privilege(CAST(:table AS text), 'INSERT')")
_MAY_INSERT = PerDialect[Callable[[Connection, Table], bool]](
    postgresql=lambda connection, table: bool(
        connection.execute(_HAS_PRIVILEGE, {"table": table.name}).scalar_one()
    ),
    sqlite=lambda *_: True,
)


@click.command()
@click.option(
    "--collector-config",
    "collector_configs",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The collector's configuration file; repeat it in the collector's order.  [default: "
    "otel-collector.yaml]",
)
@json_option
@data_option
def doctor(*, collector_configs: tuple[Path, ...], as_json: bool) -> None:
    """Check the set-up and report its problems.

    Checks the database, schema, triggers, connected role, durability, keys, sink, and the audit
    pipeline of the collector. Run it with the service's user and settings. While `auditspan up`
    runs on the same data, the sink of `up` is checked.

    Exits with 0 if there is no problem, 1 if there is one, and 2 if a check could not be made.
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
    """Check that the database is reachable, migrated and guarded, and what the role may write."""
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
            f"The database did not answer: {database_reason(error)}. Check AUDITSPAN_DATABASE_URL."
        )


def _may_insert(connection: Connection, table: Table) -> bool:
    return _MAY_INSERT.of(connection)(connection, table)


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
        say("No problems found.")
