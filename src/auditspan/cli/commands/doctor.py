"""`auditspan doctor`: a diagnosis of the set-up, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.exc import SQLAlchemyError

from auditspan.cli.commands.console import COULD_NOT, FOUND, database_reason, print_result
from auditspan.cli.commands.target import Target, on_trail
from auditspan.cli.doctor import (
    Examination,
    ModelReview,
    examine_collector,
    examine_collector_config,
    examine_keys,
    examine_sink,
    examine_variables,
    examine_workers,
    find_raw_writes,
    review_models,
)
from auditspan.delivery import read_backlog
from auditspan.errors import AuditConfigError
from auditspan.seal.guards import check_guards
from auditspan.storage import snapshot
from auditspan.storage.dialects import PerDialect
from auditspan.trail.settings import audit_destination, sink_names, undelivered

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
@on_trail
def doctor(target: Target, *, collector_configs: tuple[Path, ...]) -> None:
    """Check the set-up and report its problems.

    Checks the names of settings, the database, schema, triggers, connected role, durability, keys,
    sink, and the audit pipeline of the collector. Of an application, lists its models and the
    columns that probably need a policy, with the policy to paste, and raw SQL writes that are not
    recorded or have no actor. Run it with the service's user and settings. While `auditspan up`
    runs on the same data, the sink of `up` is checked.

    Exits with 0 if there is no problem, 1 if there is one, and 2 if a check could not be made.
    """
    settings = target.diagnosed()
    examination = target.examination()
    examination.models = review_models(target.reviewed_models())
    with target.opened_engine() as engine:
        _examine_database(examination, target, engine)
    examine_variables(examination, settings)
    examine_keys(examination, settings)
    examine_sink(examination, settings)
    has_collector = settings.sink == "otlp" and not audit_destination(settings).is_kafka
    configs = collector_configs or (target.collector_configs() if has_collector else ())
    if configs:
        examine_collector_config(examination, settings, configs)
    if settings.sink == "otlp":
        examine_collector(examination, settings)
    print_result(examination.to_dict(), _lines(examination))
    if not examination.ok:
        raise SystemExit(COULD_NOT if examination.unchecked else FOUND)


def _examine_database(examination: Examination, target: Target, engine: Engine) -> None:
    """Check that the database is reachable, migrated and guarded, and what the role may write."""
    try:
        state = target.schema(engine)
        if not state.is_current:
            examination.add("schema", state.sentence)
            return
        tables = target.tables
        with snapshot(engine) as connection:
            for finding in check_guards(connection, tables):
                examination.add(finding.kind, finding.detail)
            examination.writes_events = _may_insert(connection, tables.event)
            examination.writes_seals = _may_insert(connection, tables.leaf)
        with engine.connect() as connection:
            examine_workers(examination, connection, tables)
            settings = target.diagnosed()
            backlog = read_backlog(connection, tables, sink_names(settings))
            examination.sinks = undelivered(backlog, settings)
            _examine_raw_writes(examination, target, connection)
    except AuditConfigError as error:
        examination.add("schema", error.message)
    except SQLAlchemyError as error:
        examination.unchecked.append(
            f"The database did not answer: {database_reason(error)}. {target.database_hint}"
        )


def _examine_raw_writes(examination: Examination, target: Target, connection: Connection) -> None:
    """List what the trail does not record or attribute; staged changes that stay are a problem."""
    models = target.reviewed_models()
    if not models:
        return
    found = [*find_raw_writes(connection, target.tables, models, command=target.command)]
    examination.raw_writes = [one for one in found if one.kind != "staged"]
    for one in found:
        if one.kind == "staged":
            examination.add("staged", one.detail)


def _may_insert(connection: Connection, table: Table) -> bool:
    return _MAY_INSERT.of(connection)(connection, table)


def _delivery(name: str, sink: Mapping[str, Any]) -> str:
    """Describe the delivery to a sink in one line."""
    age, mode = sink["oldest_seconds"], sink.get("acknowledgement")
    parts = [
        f"{sink['rows']} records undelivered"
        + (f", the oldest for {age:.0f} s" if age is not None else ""),
        f"{sink['quarantined']} quarantined" if sink["quarantined"] else "",
        f"{sink['per_second']:.1f} delivered per second",
        f"acknowledgement {mode}" if mode else "",
        _last_error(sink),
    ]
    return f"{name}: {'; '.join(filter(None, parts))}"


def _last_error(sink: Mapping[str, Any]) -> str:
    if sink["last_error"] is None:
        return ""
    failures = sink["failures"]
    attempts = f"{failures} attempt{'s' if failures > 1 else ''}"
    state = f"failing, {attempts} so far" if failures else "recovered"
    since = sink["last_error_seconds"]
    ago = f" {since:.0f} s ago" if since is not None else ""
    return f"last error{ago} ({state}): {sink['last_error']}"


def _of_models(reviews: Sequence[ModelReview]) -> Iterator[str]:
    for review in reviews:
        is_missing = review.decision == "missing"
        yield f"model {review.model}: {'NOT audited' if is_missing else review.decision}"
        yield from (f"  {suspicion.column} {suspicion.problem}" for suspicion in review.columns)
        if review.policy:
            yield f"  {review.policy}"


def _lines(examination: Examination) -> Iterator[str]:
    yield from (f"{found.kind}: {found.detail}" for found in examination.found)
    yield from _of_models(examination.models)
    yield from (f"raw SQL: {one.detail}" for one in examination.raw_writes)
    yield from (f"{one.name}: {one.description}" for one in examination.workers if one.is_current)
    for name, sink in examination.sinks.items():
        if any(sink[key] for key in ("rows", "quarantined", "per_second", "last_error")):
            yield _delivery(name, sink)
    yield from (f"note: {note}" for note in examination.notes)
    yield from (f"not checked: {sentence}" for sentence in examination.unchecked)
    if examination.ok:
        yield "No problems found."
