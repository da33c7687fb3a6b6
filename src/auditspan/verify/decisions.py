"""Coverage: the decision about every model and table, audited or exempt with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from sqlalchemy import MetaData, Table
from sqlalchemy.orm import Mapper

from auditspan.errors import AuditConfigError
from auditspan.mapping import Exempt, audited_model, decided_table, link_table
from auditspan.reading.replay import mappers, table_name
from auditspan.storage import STAGING, AuditTables

_NOT_THE_APPLICATIONS = frozenset(
    {"alembic_version", STAGING, *(f"audit_{field.name}" for field in fields(AuditTables))}
)
"""Alembic's table and our own, which need no decision."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The decision about one model, or about one table without a model.

    Attributes:
        model: the class with its module; None for a table without a model.
        table: its table.
        decision: `audited`, `exempt`, or `missing`.
        type: the target type in the trail, if it is audited.
        reason: the reason, if it is exempt.
        advice: how to decide, if the decision is missing.
    """

    model: str | None
    table: str
    decision: Literal["audited", "exempt", "missing"]
    type: str | None = None
    reason: str | None = None
    advice: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def coverage(metadata: MetaData) -> list[Decision]:
    """Return the decision about every model and table of this metadata, models first.

    A table that links an audited model to another is recorded as a change of that model and needs
    no decision of its own. The modules that define the models MUST have been imported.

    Raises:
        AuditConfigError: a decision is invalid, or names a column that does not exist.
    """
    models = mappers(metadata)
    mapped = {table for mapper in models for table in mapper.tables}
    tables = (table for table in metadata.sorted_tables if table not in mapped)
    return [*map(_of_model, models), *_of_tables(tables)]


def metadata_of(application: object) -> list[MetaData]:
    """Return the metadata of an application's models.

    Args:
        application: a `MetaData`, a declarative base, an `AuditTrail`, a Flask-SQLAlchemy `db`, or
            a Flask application that has one.

    Raises:
        AuditConfigError: the argument is none of these.
    """
    extensions = getattr(application, "extensions", None)
    if isinstance(extensions, Mapping) and "sqlalchemy" in extensions:
        application = extensions["sqlalchemy"]
    several = getattr(application, "metadatas", None)  # Flask-SQLAlchemy: one for each bind
    if isinstance(several, Mapping):
        return [one for one in several.values() if isinstance(one, MetaData)]
    tables = getattr(application, "tables", None)
    if isinstance(tables, AuditTables):
        return [tables.event.metadata]
    metadata = getattr(application, "metadata", application)
    if isinstance(metadata, MetaData):
        return [metadata]
    raise AuditConfigError(
        f"a {type(application).__name__} does not lead to any models: pass a MetaData, a "
        "declarative base, an AuditTrail, Flask-SQLAlchemy's db, or a Flask application with one"
    )


def _of_model(mapper: Mapper[Any]) -> Decision:
    class_ = mapper.class_
    name, table = f"{class_.__module__}.{class_.__qualname__}", table_name(mapper)
    model = audited_model(mapper)
    if model is not None:
        return Decision(model=name, table=table, decision="audited", type=model.type)
    return _unaudited(name, table, getattr(class_, "__audit__", None), "`__audit__ = {}`")


def _of_tables(tables: Iterable[Table]) -> Iterator[Decision]:
    for table in tables:
        if table.name in _NOT_THE_APPLICATIONS:
            continue
        model, link = decided_table(table), link_table(table)
        type_ = model.type if model else link.type if link else None
        if type_ is not None:
            yield Decision(model=None, table=table.fullname, decision="audited", type=type_)
        else:
            decision = table.info.get("audit")
            yield _unaudited(None, table.fullname, decision, '`info={{"audit": {}}}`')


def _unaudited(model: str | None, table: str, decision: object, form: str) -> Decision:
    if isinstance(decision, Exempt):
        return Decision(model=model, table=table, decision="exempt", reason=decision.reason)
    exempt = form.format('Exempt("why it is not audited")')
    audited, chosen = form.format("True"), form.format("Policy(...)")
    advice = (
        f"False gives no reason; write {exempt}"
        if decision is False
        else f"write {audited} or {chosen} to audit it, or {exempt}"
    )
    return Decision(model=model, table=table, decision="missing", advice=advice)
