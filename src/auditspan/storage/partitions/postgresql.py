"""Monthly partitions of `audit_event`, on PostgreSQL.

    audit_event                      RANGE (recorded_at), months in UTC; holds nothing itself
    ├── audit_event_before_2026_12   the rows from before the table was partitioned
    ├── audit_event_2026_12          one month, and so on
    └── audit_event_default          all other rows, so that no row is ever refused

`auditspan.alembic.partition_audit_event` creates them. After that the worker, which does not own
the table, creates partitions three months ahead by calling `auditspan_make_partitions()`, which
runs as the owner, takes no argument and can do nothing else (docs/adr/0015).

Only the owner has privileges on a partition: all other roles use `audit_event`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, Row, Table, text

from auditspan.storage.partitions.postgresql_ddl import partitioning
from auditspan.storage.partitions.postgresql_functions import (
    MAKE_AHEAD,
    guard_partitions,
    unguard_partitions,
)
from auditspan.storage.schemas import dialect_of

__all__ = [
    "IS_SUPPORTED",
    "create_ahead",
    "guard_partitions",
    "partitioned_relations",
    "partitioning",
    "partitions_of",
    "unguard_partitions",
    "weak_points",
]

IS_SUPPORTED = True

_PARTITIONS = text(
    """
    SELECT CAST(CAST(c.oid AS regclass) AS text) AS name, c.relname AS bare,
           EXISTS (SELECT FROM pg_index i
                    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
                      AND i.indnkeyatts = 1 AND i.indpred IS NULL
                      AND i.indkey[0] = (SELECT attnum FROM pg_attribute
                                          WHERE attrelid = c.oid AND attname = 'event_id')
                  ) AS has_unique_event_id
      FROM pg_partition_tree(to_regclass(:table)) t JOIN pg_class c ON c.oid = t.relid
     WHERE t.level > 0 ORDER BY c.relname
    """
)
_RELATIONS = text(
    """
    SELECT t.relid = p.partrelid AS is_whole, c.relname AS name,
           CASE WHEN pg_table_is_visible(c.oid) THEN NULL ELSE n.nspname END AS schema
      FROM pg_partitioned_table p
      JOIN pg_class e ON e.oid = p.partrelid AND e.relname = 'audit_event'
     CROSS JOIN pg_partition_tree(p.partrelid) t
      JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
    """
)
_NEXT_MONTH = text(
    """
    SELECT to_char(now() AT TIME ZONE 'UTC' + CAST('1 month' AS interval), 'YYYY_MM') AS month
    """
)


def partitions_of(connection: Connection, table: Table) -> list[Row[tuple[str, str, bool]]]:
    """Return the partitions of this table, with `name` quoted for SQL and uniqueness of `event_id`.

    The list is empty if the table is not partitioned.
    """
    name = dialect_of(connection).identifier_preparer.format_table(table)
    return list(connection.execute(_PARTITIONS, {"table": name}))


def create_ahead(connection: Connection, table: Table) -> list[str]:
    """Create missing partitions for this month and the next three.

    Do nothing if the table is not partitioned, or while another worker creates partitions.

    Returns:
        The names of the created partitions, which exist once the transaction is committed.

    Raises:
        DBAPIError: this role lacks the privilege, or the table is locked and a retry may succeed.
    """
    schema = dialect_of(connection).identifier_preparer.format_table(table).rpartition(".")[0]
    function = f"{schema}.{MAKE_AHEAD}()" if schema else f"{MAKE_AHEAD}()"
    known = connection.execute(text("SELECT to_regprocedure(:name)"), {"name": function})
    if known.scalar_one() is None:
        return []
    return list(connection.scalars(text(f"SELECT {function}")))


def partitioned_relations(connection: Connection) -> Sequence[Row[tuple[bool, str, str | None]]]:
    """Return the partitioned `audit_event` of each schema (`is_whole`), and its partitions."""
    return connection.execute(_RELATIONS).all()


def weak_points(connection: Connection, table: Table) -> Iterator[str]:
    """Yield a sentence for each weakness of the partitions that does not break a promise."""
    partitions = partitions_of(connection, table)
    if not partitions:
        return
    for one in partitions:
        if not one.has_unique_event_id:
            yield (
                f"The partition {one.name} has no unique index on event_id: it could contain an "
                "event twice, and looking one up reads the whole partition. CREATE UNIQUE INDEX ON "
                f"{one.name} (event_id)."
            )
    month = connection.execute(_NEXT_MONTH).scalar_one()
    names = [one.bare for one in partitions]
    if f"audit_event_{month}" not in names and not any(_covers(name, month) for name in names):
        yield (
            f"There is no partition of audit_event for {month.replace('_', '-')}: its rows will go "
            "to audit_event_default, and stay there. Check that a worker is running and may "
            f"execute {MAKE_AHEAD}(); see docs/how-to/partition-the-trail.md."
        )


def _covers(name: str, month: str) -> bool:
    prefix = "audit_event_before_"
    return name.startswith(prefix) and name.removeprefix(prefix) > month
