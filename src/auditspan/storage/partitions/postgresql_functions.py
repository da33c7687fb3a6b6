"""Functions that create partitions, and the guards of partitions, on PostgreSQL."""

from __future__ import annotations

from sqlalchemy import DDL, Dialect, Table

from auditspan.storage.append_only.postgresql import REFUSE_FUNCTION

MAKE_ONE = "auditspan_make_partition"
"""The function that creates the partition of one month; for the owner."""

MAKE_AHEAD = "auditspan_make_partitions"
"""The function that creates partitions for this month and the next three, as the owner; for the
sealing role."""

MONTHS_AHEAD = 3

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
"""
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
"""
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


def guard_partitions(table: Table, dialect: Dialect) -> list[DDL]:
    """Return the statements that protect existing partitions like the table; for its owner."""
    return _for_each_partition(table, dialect, GUARD)


def unguard_partitions(table: Table, dialect: Dialect) -> list[DDL]:
    """Return statements that drop the partition triggers which outlast those of the table."""
    drop = "EXECUTE 'DROP TRIGGER IF EXISTS ' || 'audit_event_no_truncate ON ' || target;"
    return _for_each_partition(table, dialect, drop)


def _for_each_partition(table: Table, dialect: Dialect, work: str) -> list[DDL]:
    if table.name != "audit_event":
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
END $each$"""
        )
    ]
