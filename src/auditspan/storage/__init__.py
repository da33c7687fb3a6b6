"""Audit tables: statements, triggers and partitions."""

from __future__ import annotations

from auditspan.storage.append_only import (
    create_trigger,
    creation,
    purge_removal,
    removal,
    triggers_of,
)
from auditspan.storage.append_only.postgresql import REFUSE_SOURCE, row_source
from auditspan.storage.append_only.postgresql_purge import DROP_PARTITIONS, REMOVE
from auditspan.storage.append_only.postgresql_purge import FUNCTIONS as PURGE_FUNCTIONS
from auditspan.storage.append_only.trigger import Trigger
from auditspan.storage.audit_change import STAGING, audit_change_table, staging_of
from auditspan.storage.checkpoints import (
    StoredCheckpoint,
    first_checkpoint,
    latest_checkpoint,
    subtree_root,
)
from auditspan.storage.column_forms import (
    ColumnForm,
    Forms,
    IsCounted,
    StoredNumber,
    StoredText,
    UtcText,
    plain_text,
    stored_bytes,
)
from auditspan.storage.column_types import (
    DatabaseClock,
    TransactionId,
    TupleId,
    UtcDateTime,
    database_time,
)
from auditspan.storage.disclosures import StoredDisclosure, labelled, read_disclosures
from auditspan.storage.driver import execute, fetch
from auditspan.storage.erasure import count_erasable, lock_subject, remove_disclosures
from auditspan.storage.erasure_function import ERASURE_FUNCTION
from auditspan.storage.erasure_keys import KeySource, add_erasure_keys, erasure_keys_of
from auditspan.storage.event_filter import EXCLUDABLE, FILTER_NAMES, EventFilter
from auditspan.storage.events import (
    event_at,
    find_events,
    get_event,
    get_events,
    history,
    row_ids,
    sealed_page,
)
from auditspan.storage.insert import insert_counted
from auditspan.storage.leaves import leaf_hashes, newest_size, sealed_hashes, sealed_leaves
from auditspan.storage.new_events import insert_records
from auditspan.storage.partitions import PARTITIONS
from auditspan.storage.partitions.postgresql import weak_points
from auditspan.storage.purges import (
    Purge,
    attested_members,
    begun_purge,
    last_purge,
    purge_at,
    purge_before,
    purge_of,
    purged_among,
    purged_ids,
    purged_seq,
    purged_tree,
    read_purges,
    retention_rows,
)
from auditspan.storage.purging import PURGING
from auditspan.storage.quarantine import is_quarantined, mark_accepted, quarantined
from auditspan.storage.schemas import Translation, dialect_of, schema_in, translation_of
from auditspan.storage.search_terms import INDEX as TERM_INDEX
from auditspan.storage.search_terms import SEARCH_TERMS
from auditspan.storage.search_terms import SOURCE as TERM_SOURCE
from auditspan.storage.snapshot import snapshot
from auditspan.storage.sqlite_setup import (
    WAITS,
    is_missing_file,
    set_up_sqlite,
    set_up_transaction,
)
from auditspan.storage.stored_event import StoredEvent, is_creation
from auditspan.storage.tables import LEASE_PREFIX, AuditTables, audit_tables
from auditspan.storage.timeouts import kept_alive, lift_time_limits
from auditspan.storage.unkeyed import CoveredRows, find_uncovered, key_additions

__all__ = [
    "DROP_PARTITIONS",
    "ERASURE_FUNCTION",
    "EXCLUDABLE",
    "FILTER_NAMES",
    "LEASE_PREFIX",
    "PARTITIONS",
    "PURGE_FUNCTIONS",
    "PURGING",
    "REFUSE_SOURCE",
    "REMOVE",
    "SEARCH_TERMS",
    "STAGING",
    "TERM_INDEX",
    "TERM_SOURCE",
    "WAITS",
    "AuditTables",
    "ColumnForm",
    "CoveredRows",
    "DatabaseClock",
    "EventFilter",
    "Forms",
    "IsCounted",
    "KeySource",
    "Purge",
    "StoredCheckpoint",
    "StoredDisclosure",
    "StoredEvent",
    "StoredNumber",
    "StoredText",
    "TransactionId",
    "Translation",
    "Trigger",
    "TupleId",
    "UtcDateTime",
    "UtcText",
    "add_erasure_keys",
    "attested_members",
    "audit_change_table",
    "audit_tables",
    "begun_purge",
    "count_erasable",
    "create_trigger",
    "creation",
    "database_time",
    "dialect_of",
    "erasure_keys_of",
    "event_at",
    "execute",
    "fetch",
    "find_events",
    "find_uncovered",
    "first_checkpoint",
    "get_event",
    "get_events",
    "history",
    "insert_counted",
    "insert_records",
    "is_creation",
    "is_missing_file",
    "is_quarantined",
    "kept_alive",
    "key_additions",
    "labelled",
    "last_purge",
    "latest_checkpoint",
    "leaf_hashes",
    "lift_time_limits",
    "lock_subject",
    "mark_accepted",
    "newest_size",
    "plain_text",
    "purge_at",
    "purge_before",
    "purge_of",
    "purge_removal",
    "purged_among",
    "purged_ids",
    "purged_seq",
    "purged_tree",
    "quarantined",
    "read_disclosures",
    "read_purges",
    "removal",
    "remove_disclosures",
    "retention_rows",
    "row_ids",
    "row_source",
    "schema_in",
    "sealed_hashes",
    "sealed_leaves",
    "sealed_page",
    "set_up_sqlite",
    "set_up_transaction",
    "snapshot",
    "staging_of",
    "stored_bytes",
    "subtree_root",
    "translation_of",
    "triggers_of",
    "weak_points",
]
