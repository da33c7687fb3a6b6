"""Conversion of `audit_event` to a partitioned table, once, on PostgreSQL.

    1. bound       add a valid CHECK that all rows are from before the next month, so that they are
                   neither read again nor moved when the table becomes a partition
    2. rename      rename the table and its indexes; its primary key now includes `recorded_at`
    3. create      create a new table with the same columns, next ids, indexes and privileges
    4. attach      attach the old table as the first partition, and add a default partition
    5. functions   create the functions that add partitions (`partitions`), for the sealing role
    6. guards      create the triggers of the table, and of every partition

Everything is one transaction, which blocks all other readers and writers. Steps 1 and 2 read the
table once each, unless the check and the index exist: prepare them in advance for a large trail.

Afterwards `event_id` is unique in each partition but not across partitions, since PostgreSQL
supports unique indexes across partitions only if they include the partition key. The index of the
leaves is no longer unique either: a row with a reused `event_id` must be sealed and reported, and
must not stop the sealing of all others.
"""

from __future__ import annotations

from sqlalchemy import DDL, Dialect, MetaData, Table

from auditspan.storage.append_only import creation, removal
from auditspan.storage.audit_change import audit_change_table
from auditspan.storage.partitions.postgresql_functions import (
    FUNCTIONS,
    MAKE_AHEAD,
    MAKE_ONE,
    guard_partitions,
)
from auditspan.storage.triggers.postgresql import recorded_trigger

KEY_INDEX = "audit_event_id_recorded_at"
"""The unique index that becomes the primary key of the first partition."""

ATTEMPTS = 40
"""The maximum number of attempts to lock the tables; each takes at most half a second."""

_CONVERT = rf"""
DO $partition$
DECLARE
    old regclass := to_regclass('@table@');
    leaf regclass := to_regclass('@leaf@');
    patience text := current_setting('lock_timeout');
    home text;
    owner text;
    first text;
    bound text;
    pkey text;
    indexes jsonb;
    next_id bigint;
    one record;
BEGIN
    IF old IS NULL THEN
        RAISE EXCEPTION 'there is no table audit_event: make the audit tables first';
    END IF;
    -- Both or none, and never for long: others lock the two in either order, and wait behind us.
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR attempt IN 1..{ATTEMPTS} LOOP
        BEGIN
            EXECUTE 'LOCK TABLE ' || old || ', ' || leaf || ' IN ACCESS EXCLUSIVE MODE';
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF attempt = {ATTEMPTS} THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(0.2 * random());
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', patience, true);
    old := to_regclass('@table@');
    IF (SELECT relkind FROM pg_class WHERE oid = old) = 'p' THEN
        RETURN;
    END IF;
    SELECT quote_ident(n.nspname), quote_ident(pg_get_userbyid(c.relowner)) INTO home, owner
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = old;

    -- 1
    SELECT conname INTO first FROM pg_constraint
     WHERE conrelid = old AND contype = 'c' AND convalidated
       AND conname ~ '^audit_event_before_\d+_\d+$'
       AND right(conname, 7) > to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM');
    IF first IS NULL THEN
        first := 'audit_event_before_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC')
                                                  + interval '1 month', 'YYYY_MM');
    END IF;
    bound := quote_literal(replace(right(first, 7), '_', '-') || '-01 00:00:00+00');
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = old AND conname = first) THEN
        EXECUTE 'ALTER TABLE ' || old || ' ADD CONSTRAINT ' || first
            || ' CHECK (recorded_at < ' || bound || ')';
    END IF;

    -- 2
    EXECUTE 'CREATE UNIQUE INDEX IF NOT EXISTS {KEY_INDEX} ON ' || old || ' (id, recorded_at)';
    SELECT quote_ident(conname) INTO pkey
      FROM pg_constraint WHERE conrelid = old AND contype = 'p';
    EXECUTE 'ALTER TABLE ' || old || ' DROP CONSTRAINT ' || pkey;
    EXECUTE 'SELECT nextval(' || quote_literal(pg_get_serial_sequence(old::text, 'id')) || ')'
       INTO next_id;
    EXECUTE 'ALTER TABLE ' || old || ' ALTER COLUMN id DROP IDENTITY';
    EXECUTE 'DROP TRIGGER IF EXISTS audit_event_append_only ON ' || old;
    EXECUTE 'DROP TRIGGER IF EXISTS audit_event_no_truncate ON ' || old;
    EXECUTE 'DROP TRIGGER IF EXISTS audit_event_recorded ON ' || old;
    EXECUTE 'ALTER TABLE ' || old || ' RENAME TO ' || first;
    EXECUTE 'ALTER TABLE ' || old || ' ADD CONSTRAINT ' || first || '_pkey PRIMARY KEY USING INDEX '
        || '{KEY_INDEX}';
    SELECT jsonb_agg(row_to_json(i)) INTO indexes FROM (
        SELECT c.relname AS name, indisunique AS is_unique,
               regexp_replace(pg_get_indexdef(c.oid), '^.* USING ', 'USING ') AS definition
          FROM pg_index JOIN pg_class c ON c.oid = indexrelid
         WHERE indrelid = old AND NOT indisprimary) i;
    FOR one IN SELECT * FROM jsonb_to_recordset(indexes) AS i(name text) LOOP
        EXECUTE 'ALTER INDEX ' || home || '.' || quote_ident(one.name)
            || ' RENAME TO ' || quote_ident(replace(one.name, 'audit_event', first));
    END LOOP;

    -- 3
    EXECUTE 'CREATE TABLE ' || home || '.audit_event (LIKE ' || old || ' INCLUDING ALL EXCLUDING '
        || 'IDENTITY EXCLUDING INDEXES EXCLUDING CONSTRAINTS) PARTITION BY RANGE (recorded_at)';
    EXECUTE 'ALTER TABLE ' || home || '.audit_event ALTER COLUMN id '
        || 'ADD GENERATED ALWAYS AS IDENTITY (START WITH ' || next_id || '), '
        || 'ADD CONSTRAINT ' || pkey || ' PRIMARY KEY (id, recorded_at)';
    EXECUTE 'ALTER TABLE ' || home || '.audit_event OWNER TO ' || owner;
    FOR one IN
        SELECT * FROM jsonb_to_recordset(indexes) AS i(name text, is_unique bool, definition text)
         WHERE NOT is_unique
    LOOP
        EXECUTE 'CREATE INDEX ' || quote_ident(one.name) || ' ON ' || home || '.audit_event '
            || one.definition;
    END LOOP;
    FOR one IN
        SELECT a.privilege_type AS verb, '' AS of, a.grantee, a.is_grantable
          FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.oid = old AND a.grantee <> c.relowner
        UNION ALL
        SELECT a.privilege_type, ' (' || quote_ident(f.attname) || ')', a.grantee, a.is_grantable
          FROM pg_attribute f, aclexplode(f.attacl) a WHERE f.attrelid = old
    LOOP
        EXECUTE 'GRANT ' || one.verb || one.of || ' ON ' || home || '.audit_event TO '
            || CASE one.grantee WHEN 0 THEN 'PUBLIC'
               ELSE quote_ident(pg_get_userbyid(one.grantee)) END
            || CASE WHEN one.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END;
    END LOOP;

    -- 4
    EXECUTE 'ALTER TABLE ' || home || '.audit_event ATTACH PARTITION ' || old
        || ' FOR VALUES FROM (MINVALUE) TO (' || bound || ')';
    EXECUTE 'ALTER TABLE ' || old || ' DROP CONSTRAINT ' || first;
    EXECUTE 'CREATE TABLE ' || home || '.audit_event_default PARTITION OF ' || home
        || '.audit_event DEFAULT';
    EXECUTE 'CREATE UNIQUE INDEX ON ' || home || '.audit_event_default (event_id)';
    EXECUTE 'ALTER TABLE ' || home || '.audit_event_default OWNER TO ' || owner;
    EXECUTE 'DROP INDEX ' || home || '.ix_audit_leaf_event_id';
    EXECUTE 'CREATE INDEX ix_audit_leaf_event_id ON ' || leaf || ' (event_id)';
END $partition$
"""

_EQUIP = f"""
DO $equip$
DECLARE
    parent regclass := to_regclass('@table@');
    leaf regclass := to_regclass('@leaf@');
    home text;
    owner text;
    source text;
    grantee text;
BEGIN
    SELECT quote_ident(n.nspname), quote_ident(pg_get_userbyid(c.relowner)) INTO home, owner
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = parent;
    FOREACH source IN ARRAY ARRAY[@functions@] LOOP
        EXECUTE replace(replace(source, '@' || 'schema@', home),
                        '@' || 'literal@', quote_literal(home));
    END LOOP;
    FOREACH source IN ARRAY ARRAY['{MAKE_ONE}(timestamptz)', '{MAKE_AHEAD}()'] LOOP
        EXECUTE 'ALTER FUNCTION ' || home || '.' || source || ' OWNER TO ' || owner;
        EXECUTE 'REVOKE ALL ON FUNCTION ' || home || '.' || source || ' FROM PUBLIC';
    END LOOP;
    -- Who may write leaves is who seals, and a worker.
    FOR grantee IN
        SELECT quote_ident(pg_get_userbyid(a.grantee)) FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.oid = leaf AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE 'GRANT EXECUTE ON FUNCTION ' || home || '.{MAKE_AHEAD}() TO ' || grantee;
    END LOOP;
    EXECUTE 'SELECT count(*) FROM ' || home || '.{MAKE_AHEAD}()';
END $equip$
"""


def partitioning(event: Table, leaf: Table, dialect: Dialect) -> list[DDL]:
    """Return the statements that partition the table, or repair a table that is partitioned."""
    staging = audit_change_table(MetaData(schema=event.schema))
    return [
        _statement(_CONVERT, event, leaf, dialect),  # 1 to 4
        *removal(event, dialect),  # 6
        *creation(event, dialect),
        DDL(recorded_trigger(staging, dialect)),  # type: ignore[no-untyped-call]
        _statement(_EQUIP, event, leaf, dialect),  # 5
        *guard_partitions(event, dialect),  # 6
    ]


def _statement(template: str, event: Table, leaf: Table, dialect: Dialect) -> DDL:
    quoted = ", ".join(f"$source${source}$source$" for source in FUNCTIONS)
    full = {"@table@": event, "@leaf@": leaf}
    for name, table in full.items():
        plain = dialect.identifier_preparer.format_table(table).replace("'", "''")
        template = template.replace(name, plain)
    return DDL(template.replace("@functions@", quoted))  # type: ignore[no-untyped-call]
