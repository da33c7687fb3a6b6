"""Check that the audit tables have their indexes, and no foreign unique ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, Table, inspect

from auditspan.seal.guards.dialects import GUARDS
from auditspan.storage import PARTITIONS


class WeakIndex(NamedTuple):
    """A problem with an index: sentences that describe it, and whether it breaks a promise."""

    detail: str
    breaks_a_promise: bool


def weak_indexes(connection: Connection, event: Table, table: Table) -> Iterator[WeakIndex]:
    """Yield the problems with the indexes of this audit table.

    If `event` is partitioned, an event id is unique only within each partition.
    """
    schema = connection.schema_for_object(table)
    found = {
        str(one["name"]): (tuple(one["column_names"]), bool(one["unique"]))
        for one in inspect(connection).get_indexes(table.name, schema=schema)
    }
    for name in GUARDS.of(connection).invalid_indexes(connection, table):
        found.pop(name, None)
    is_partitioned = bool(PARTITIONS.of(connection).partitions_of(connection, event))
    for index in sorted(table.indexes, key=lambda one: str(one.name)):
        columns = tuple(column.name for column in index.columns)
        if is_partitioned and columns == ("event_id",):
            continue  # `partitions` checks the index of each partition
        if found.get(str(index.name), ((), False)) != (columns, bool(index.unique)):
            yield _missing(table, str(index.name), columns, is_unique=bool(index.unique))
    key = {column.name for column in table.primary_key}
    stored = inspect(connection).get_pk_constraint(table.name, schema=schema)
    if not key <= set(stored["constrained_columns"]):
        yield _missing(table, "the primary key", tuple(sorted(key)), is_unique=True)
    unique = [key, *({c.name for c in one.columns} for one in table.indexes if one.unique)]
    for name, (stored_columns, is_unique) in found.items():
        if is_unique and not any(known <= set(stored_columns) for known in unique):
            yield WeakIndex(
                f"The unique index {name} on {table.name} is not auditspan's: it could reject rows "
                "of the trail. Drop it.",
                breaks_a_promise=True,
            )


def _missing(table: Table, name: str, columns: tuple[str, ...], *, is_unique: bool) -> WeakIndex:
    on = f"{name} on {table.name} ({', '.join(columns)})"
    if is_unique:
        return WeakIndex(
            f"The unique index {on} is missing, invalid or different: rows of the trail can be "
            "duplicated. Run `auditspan verify`, which names copies, and create it again.",
            breaks_a_promise=True,
        )
    return WeakIndex(
        f"The index {on} is missing, invalid or different: searches read the whole table. Create "
        "it again.",
        breaks_a_promise=False,
    )
