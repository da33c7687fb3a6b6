"""Functions that let authorised purges through, on PostgreSQL (docs/adr/0020).

    auditspan_purgeable()              the number of leaves whose rows may be removed
    auditspan_refuse_unless_purged()   the trigger function of `audit_event`, which calls it
    auditspan_purge(first, last)       removes authorised rows by id with their disclosures
    auditspan_purge_partitions()       drops past partitions with authorised rows only, as the owner
    auditspan_waiting()                the number of changes that wait to be recorded

The two that remove are for a role that purges and does nothing else. Their caller cannot widen what
is removed: the number comes from the sealed and delivered events `trail.purge`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Dialect, Table

from auditspan.format import HOLD, PURGE, RETENTION_TARGET

REFUSE_UNLESS_PURGED = "auditspan_refuse_unless_purged"
"""The trigger function of `audit_event`."""

REMOVE = "auditspan_purge"
"""The function that removes authorised rows."""

DROP_PARTITIONS = "auditspan_purge_partitions"
"""The function that drops partitions whose rows are all authorised."""

WAITING = "auditspan_waiting"
"""The function that counts the changes that wait to be recorded, which the roles cannot read."""

_PURGEABLE = "auditspan_purgeable"
_SETTINGS = "SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'"
_OF_RETENTION = f"target_type = '{RETENTION_TARGET[0]}' AND target_id = '{RETENTION_TARGET[1]}'"

# The PL/pgSQL below must not contain percent signs or a colon before a word, which drivers and
# SQLAlchemy would treat as parameters. `@schema@` is replaced once the schema is
# known, and must not be inside a string.

_PURGEABLE_SOURCE = f"""
DECLARE
    size bigint;
BEGIN
    SELECT max(point.tree_size) INTO size
      FROM (SELECT id, CAST(body AS json) -> 'metadata' -> 'retention' AS stated
              FROM @schema@.audit_event
             WHERE {_OF_RETENTION} AND action = '{PURGE}') purge
      JOIN @schema@.audit_leaf leaf ON leaf.row_id = purge.id
      JOIN @schema@.audit_checkpoint point
        ON CAST(point.tree_size AS text) = purge.stated ->> 'size'
       AND encode(point.root_hash, 'hex') = purge.stated ->> 'root'
       AND point.created_at < CAST(purge.stated ->> 'before' AS timestamptz)
     WHERE leaf.seq >= point.tree_size
       AND EXISTS (SELECT FROM @schema@.audit_delivery WHERE left(sink, 6) <> 'lease:')
       AND NOT EXISTS (SELECT FROM @schema@.audit_delivery
                        WHERE left(sink, 6) <> 'lease:' AND safe_seq < leaf.seq)
       AND NOT EXISTS (SELECT FROM @schema@.audit_event
                        WHERE {_OF_RETENTION} AND action = '{HOLD}' AND id > purge.id);
    RETURN coalesce(size, 0);
END
"""
_REFUSE_SOURCE = """
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF EXISTS (SELECT FROM @schema@.audit_leaf
                    WHERE row_id = OLD.id AND seq < @schema@.auditspan_purgeable()) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION USING
        ERRCODE = '23Z01',
        MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' is refused, on purpose',
        HINT = 'Rows of an audit trail are never changed, and removed only as a sealed event '
            'trail.purge authorises it, not by the owner either.';
END
"""
_REMOVE_SOURCE = """
DECLARE
    size bigint := @schema@.auditspan_purgeable();
    removed bigint;
BEGIN
    DELETE FROM @schema@.audit_disclosure disclosure USING @schema@.audit_leaf leaf
     WHERE leaf.row_id >= first AND leaf.row_id <= last
       AND disclosure.event_id = leaf.event_id AND leaf.seq < size;
    DELETE FROM @schema@.audit_event event USING @schema@.audit_leaf leaf
     WHERE event.id >= first AND event.id <= last
       AND leaf.row_id = event.id AND leaf.seq < size;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
"""
_DROP_SOURCE = """
DECLARE
    size bigint := @schema@.auditspan_purgeable();
    seen pg_snapshot;
    past text := to_char(now() AT TIME ZONE 'UTC' - interval '1 day', 'YYYY_MM');
    one record;
    kept bigint;
    late boolean;
    leaves text := (SELECT CAST(CAST(typrelid AS regclass) AS text) FROM pg_type
                     WHERE oid = pg_typeof(CAST(NULL AS @schema@.audit_leaf)));
    disclosures text := (SELECT CAST(CAST(typrelid AS regclass) AS text) FROM pg_type
                          WHERE oid = pg_typeof(CAST(NULL AS @schema@.audit_disclosure)));
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN;  -- rows that are committed while it waits for the lock would stay unseen
    END IF;
    FOR one IN
        SELECT c.relname AS name, CAST(CAST(c.oid AS regclass) AS text) AS target
          FROM pg_type trail
         CROSS JOIN pg_partition_tree(CAST(trail.typrelid AS regclass)) t
          JOIN pg_class c ON c.oid = t.relid
         WHERE trail.oid = pg_typeof(CAST(NULL AS @schema@.audit_event))
           AND t.level > 0 AND (c.relname ~ '^audit_event_\\d+_\\d+$' AND right(c.relname, 7) < past
               OR c.relname ~ '^audit_event_before_\\d+_\\d+$' AND right(c.relname, 7) <= past)
         ORDER BY c.relname
    LOOP
        seen := pg_current_snapshot();
        EXECUTE 'SELECT count(*), count(*) FILTER (WHERE leaf.seq IS NULL OR leaf.seq >= $1) FROM '
            || one.target || ' event LEFT JOIN ' || leaves || ' leaf ON leaf.row_id = event.id'
            INTO removed, kept USING size;
        CONTINUE WHEN removed = 0 OR kept > 0;
        LOCK TABLE ONLY @schema@.audit_event IN ACCESS EXCLUSIVE MODE;
        EXECUTE 'LOCK TABLE ' || one.target || ' IN ACCESS EXCLUSIVE MODE';
        EXECUTE 'SELECT EXISTS (SELECT FROM ' || one.target || ' WHERE xact_id >= $1)'
            INTO late USING pg_snapshot_xmin(seen);
        CONTINUE WHEN late;
        EXECUTE 'DELETE FROM ' || disclosures || ' disclosure USING ' || one.target || ' event '
            'WHERE disclosure.event_id = event.event_id';
        EXECUTE 'DROP TABLE ' || one.target;
        partition := one.name;
        RETURN NEXT;
    END LOOP;
EXCEPTION WHEN lock_not_available THEN
    RETURN;  -- the caller deletes the rows, or tries again
END
"""

_WAITING_SOURCE = """
DECLARE
    waiting bigint;
BEGIN
    SELECT count(*) INTO waiting FROM @schema@.audit_change;
    RETURN waiting;
END
"""


@dataclass(frozen=True, kw_only=True)
class Function:
    """Function of the schema of `audit_event`.

    Attributes:
        name: its name.
        parameters: the names and types of its parameters.
        result: its result, its language and its security.
        source: its body, with `@schema@` in place of the quoted schema.
        is_public: whether every role may execute it, since it changes nothing.
    """

    name: str
    parameters: str
    result: str
    source: str
    is_public: bool = False

    @property
    def signature(self) -> str:
        """The name with the types of the parameters."""
        types = [one.split()[1] for one in self.parameters.split(", ") if one]
        return f"{self.name}({', '.join(types)})"

    @property
    def is_definer(self) -> bool:
        """True if it runs as the owner of the tables."""
        return "SECURITY DEFINER" in self.result


FUNCTIONS = (
    Function(
        name=_PURGEABLE,
        parameters="",
        result="bigint LANGUAGE plpgsql STABLE SECURITY DEFINER",
        source=_PURGEABLE_SOURCE,
        is_public=True,
    ),
    Function(
        name=REFUSE_UNLESS_PURGED,
        parameters="",
        result="trigger LANGUAGE plpgsql",
        source=_REFUSE_SOURCE,
        is_public=True,
    ),
    Function(
        name=REMOVE,
        parameters="first bigint, last bigint",
        result="bigint LANGUAGE plpgsql SECURITY DEFINER",
        source=_REMOVE_SOURCE,
    ),
    Function(
        name=DROP_PARTITIONS,
        parameters="",
        result="TABLE (partition text, removed bigint) LANGUAGE plpgsql SECURITY DEFINER "
        "SET lock_timeout = '2s'",
        source=_DROP_SOURCE,
    ),
    Function(
        name=WAITING,
        parameters="",
        result="bigint LANGUAGE plpgsql STABLE SECURITY DEFINER",
        source=_WAITING_SOURCE,
        is_public=True,
    ),
)
"""The functions, each before those that call it."""


def creation(table: Table, dialect: Dialect) -> str:
    """Return the block that creates or replaces the functions, for the owner of the table alone."""
    lines = "\n".join(_create(one) for one in FUNCTIONS)
    return f"""DO $purge$
DECLARE
    home text;
    owner text;
BEGIN
    {_lookup(table, dialect)}
    {lines}
END $purge$"""


def removal(table: Table, dialect: Dialect) -> str:
    """Return the block that drops the functions, if they exist."""
    drops = "\n".join(
        f"    EXECUTE 'DROP FUNCTION IF EXISTS ' || home || '.{one.signature}';"
        for one in reversed(FUNCTIONS)
    )
    schema = dialect.identifier_preparer.format_table(table).rpartition(".")[0]
    home = f"'{_text(schema)}'" if schema else "quote_ident(current_schema())"
    return f"DO $purge$ DECLARE home text := {home}; BEGIN\n{drops}\nEND $purge$"


def _create(function: Function) -> str:
    name = f"home || '.{function.name}'"
    full = f"home || '.{function.signature}'"
    head = f"({function.parameters}) RETURNS {function.result} {_SETTINGS} AS "
    source = f"replace($source${function.source}$source$, '@' || 'schema@', home)"
    verb = "GRANT EXECUTE" if function.is_public else "REVOKE ALL"
    whom = "TO PUBLIC" if function.is_public else "FROM PUBLIC"
    return f"""
    EXECUTE 'CREATE OR REPLACE FUNCTION ' || {name} || '{_text(head)}' || quote_literal({source});
    EXECUTE 'ALTER FUNCTION ' || {full} || ' OWNER TO ' || owner;
    EXECUTE '{verb} ON FUNCTION ' || {full} || ' {whom}';"""


def _lookup(table: Table, dialect: Dialect) -> str:
    name = _text(dialect.identifier_preparer.format_table(table))
    return f"""SELECT quote_ident(n.nspname), quote_ident(pg_get_userbyid(c.relowner))
      INTO home, owner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass('{name}');"""


def _text(sql: str) -> str:
    return sql.replace("'", "''")
