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

from collections.abc import Iterator

from sqlalchemy import DDL, Connection, Dialect, Row, Table, text

from auditspan.storage.append_only import REFUSE_FUNCTION
from auditspan.storage.schemas import dialect_of

MAKE_ONE = "auditspan_make_partition"
"""The function that creates the partition of one month; for the owner."""

MAKE_AHEAD = "auditspan_make_partitions"
"""The function that creates partitions for this month and the next three, as the owner; for the
sealing role."""

MONTHS_AHEAD = 3

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
_NEXT_MONTH = text(
    """
    SELECT to_char(now() AT TIME ZONE 'UTC' + CAST('1 month' AS interval), 'YYYY_MM') AS month
    """
)

# The PL/pgSQL below must not contain percent signs or a colon before a word, which drivers and
# SQLAlchemy would treat as parameters. `@name@` is replaced by Python, or by SQL once the schema is
# known.

GUARD = f"""
    -- Row triggers come from the parent, those of statements do not. ENABLE ALWAYS is each one's.
    EXECUTE 'DROP TRIGGER IF EXISTS ' || 'audit_event_no_truncate ON ' || target;
    EXECUTE 'CREATE TRIGGER ' || 'audit_event_no_truncate BEFORE TRUNCATE ON ' || target
        || ' FOR EACH STATEMENT EXECUTE FUNCTION ' || home || '.{REFUSE_FUNCTION}()';
    EXECUTE 'ALTER TABLE ' || target || ' ENABLE ALWAYS TRIGGER audit_event_no_truncate,'
        || ' ENABLE ALWAYS TRIGGER audit_event_append_only';
    FOR grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC'
                        ELSE quote_ident(pg_get_userbyid(a.grantee)) END
          FROM pg_class c
          JOIN pg_attribute f ON f.attrelid = c.oid
         CROSS JOIN LATERAL (SELECT * FROM aclexplode(c.relacl)
                             UNION ALL SELECT * FROM aclexplode(f.attacl)) a
         WHERE c.oid = target AND a.grantee <> c.relowner
    LOOP
        EXECUTE 'REVOKE ALL ON ' || target || ' FROM ' || grantee;
    END LOOP;
"""  # noqa: S608 (no input)
"""PL/pgSQL that protects the partition `target` in the schema `home` like the table; requires a
variable `grantee`."""

_MAKE_ONE_SOURCE = f"""
DECLARE
    home text := @literal@;
    starts timestamptz := date_trunc('month', month, 'UTC');
    ends timestamptz := (starts AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    name text := 'audit_event_' || to_char(starts AT TIME ZONE 'UTC', 'YYYY_MM');
    spare regclass := to_regclass(home || '.audit_event_default');
    is_needed boolean := false;
    target regclass;
    grantee text;
BEGIN
    IF to_regclass(home || '.' || name) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    -- Rows that no worker was in time for stay in the default partition, and their month with them.
    IF spare IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM ' || spare
            || ' WHERE recorded_at >= $1 AND recorded_at < $2)' INTO is_needed USING starts, ends;
    END IF;
    IF is_needed THEN
        RAISE WARNING USING MESSAGE = 'rows of ' || name || ' are in the default partition';
        RETURN NULL;
    END IF;
    -- ATTACH lets readers and writers of the table go on; CREATE ... PARTITION OF would not.
    EXECUTE 'CREATE TABLE ' || home || '.' || name || ' (LIKE ' || home
        || '.audit_event INCLUDING ALL EXCLUDING IDENTITY)';
    target := to_regclass(home || '.' || name);
    EXECUTE 'CREATE UNIQUE INDEX ON ' || target || ' (event_id)';
    EXECUTE 'ALTER TABLE ' || home || '.audit_event ATTACH PARTITION ' || target
        || ' FOR VALUES FROM (' || quote_literal(starts) || ') TO (' || quote_literal(ends) || ')';
    {GUARD}
    RETURN name;
EXCEPTION WHEN invalid_object_definition THEN  -- another partition has this month
    RETURN NULL;
END
"""  # noqa: S608 (no input)
_MAKE_AHEAD_SOURCE = f"""
DECLARE
    starts timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    name text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('auditspan.partitions', 0)) THEN
        RETURN;  -- another worker is at it
    END IF;
    FOR ahead IN 0..{MONTHS_AHEAD} LOOP
        name := @schema@.{MAKE_ONE}((starts + ahead * interval '1 month') AT TIME ZONE 'UTC');
        IF name IS NOT NULL THEN
            RETURN NEXT name;
        END IF;
    END LOOP;
END
"""
# A fixed search path, since they run as the owner; and a short lock timeout, since others queue
# behind a session that waits for a lock on a partition.
_SETTINGS = "SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'"
FUNCTIONS = (
    f"""
CREATE OR REPLACE FUNCTION @schema@.{MAKE_ONE}(month timestamptz) RETURNS text
LANGUAGE plpgsql {_SETTINGS} AS $make${_MAKE_ONE_SOURCE}$make$
""",
    f"""
CREATE OR REPLACE FUNCTION @schema@.{MAKE_AHEAD}() RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER {_SETTINGS} SET lock_timeout = '2s'
AS $make${_MAKE_AHEAD_SOURCE}$make$
""",
)
"""The functions in the schema of the table; `@schema@` and `@literal@` are replaced by its name."""


def partitions_of(connection: Connection, table: Table) -> list[Row[tuple[str, str, bool]]]:
    """Return the partitions of this table, with `name` quoted for SQL and uniqueness of `event_id`.

    The list is empty if the table is not partitioned, and on SQLite.
    """
    if connection.dialect.name != "postgresql":
        return []
    name = dialect_of(connection).identifier_preparer.format_table(table)
    return list(connection.execute(_PARTITIONS, {"table": name}))


def make_ahead(connection: Connection, table: Table) -> list[str]:
    """Create missing partitions for this month and the next three.

    Do nothing if the table is not partitioned, or while another worker creates partitions.

    Returns:
        The names of the created partitions, which exist once the transaction is committed.

    Raises:
        DBAPIError: this role lacks the privilege, or the table is locked and a retry may succeed.
    """
    if connection.dialect.name != "postgresql":
        return []
    schema = dialect_of(connection).identifier_preparer.format_table(table).rpartition(".")[0]
    function = f"{schema}.{MAKE_AHEAD}()" if schema else f"{MAKE_AHEAD}()"
    known = connection.execute(text("SELECT to_regprocedure(:name)"), {"name": function})
    if known.scalar_one() is None:
        return []
    return list(connection.scalars(text(f"SELECT {function}")))


def guard_partitions(table: Table, dialect: Dialect) -> list[DDL]:
    """Return the statements that protect existing partitions like the table; for its owner."""
    return _for_each_partition(table, dialect, GUARD)


def unguard_partitions(table: Table, dialect: Dialect) -> list[DDL]:
    """Return statements that drop the partition triggers which outlast those of the table."""
    drop = "EXECUTE 'DROP TRIGGER IF EXISTS ' || 'audit_event_no_truncate ON ' || target;"
    return _for_each_partition(table, dialect, drop)


def _for_each_partition(table: Table, dialect: Dialect, work: str) -> list[DDL]:
    if dialect.name != "postgresql" or table.name != "audit_event":
        return []
    name = dialect.identifier_preparer.format_table(table).replace("'", "''")
    return [
        DDL(  # type: ignore[no-untyped-call]
            f"""DO $each$ DECLARE home text; target regclass; grantee text; BEGIN
    FOR home, target IN
        SELECT quote_ident(n.nspname), c.oid
          FROM pg_partition_tree(to_regclass('{name}')) t
          JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE t.level > 0
    LOOP {work} END LOOP;
END $each$"""  # noqa: S608 (names of our own tables)
        )
    ]


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
