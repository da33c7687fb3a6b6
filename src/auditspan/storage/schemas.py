"""Schema translation (`schema_translate_map`) for SQL that SQLAlchemy does not compile."""

from __future__ import annotations

from copy import copy
from functools import lru_cache

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.sql.schema import HasSchemaAttr

Translation = frozenset[tuple[str | None, str | None]]


def translation_of(connection: Connection) -> Translation:
    """Return the `schema_translate_map` of a connection or its engine; empty if there is none."""
    return frozenset((connection.get_execution_options().get("schema_translate_map") or {}).items())


def dialect_of(connection: Connection) -> Dialect:
    """Return the dialect of a connection; its preparer formats tables with translated schemas."""
    if not connection.get_execution_options().get("schema_translate_map"):
        return connection.dialect
    return _translating(connection.dialect, translation_of(connection))


def schema_in(dialect: Dialect, table: Table) -> str | None:
    """Return the schema of a table, as `dialect_of` translates it."""
    schema: str | None = dialect.identifier_preparer.schema_for_object(table)
    return schema


@lru_cache(maxsize=256)
def _translating(dialect: Dialect, translation: Translation) -> Dialect:
    schemas = dict(translation)

    def translated(table: HasSchemaAttr) -> str | None:
        return schemas.get(table.schema, table.schema)

    made, preparer = copy(dialect), copy(dialect.identifier_preparer)
    vars(preparer)["schema_for_object"] = translated
    made.identifier_preparer = preparer
    return made
