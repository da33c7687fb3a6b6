"""Audit records and their canonical text. No clock, no randomness, no I/O."""

from __future__ import annotations

from auditspan.format.actions import (
    OUTCOMES,
    OWN_ACTIONS,
    SUBJECT_ERASED,
    VERIFIED,
    VIEWED,
    require_action,
    require_outcome,
)
from auditspan.format.body import MEMBERS, is_change_id, read_body, read_event
from auditspan.format.canonical import (
    MAX_INTEGER,
    Json,
    canonical_json,
    canonical_scalar,
    parse_canonical,
)
from auditspan.format.change_order import in_change_order
from auditspan.format.columns import COLUMNS, Values, derived_columns, matches_columns
from auditspan.format.counted import counted
from auditspan.format.diff import Changes
from auditspan.format.documents import (
    Number,
    Pairs,
    decode_document,
    document_text,
    parse_document,
)
from auditspan.format.erasable import (
    SALT_BYTES,
    Commitment,
    Disclosure,
    Subject,
    commitment_of,
    commitments,
    disclosed_value,
    is_unknown,
    may_have_commitments,
    with_values,
)
from auditspan.format.erasure_key import KEY_BYTES, NONCE_BYTES, ErasureKey, SubjectCipher
from auditspan.format.ids import MAX_MILLIS, RANDOM_BYTES, copy_id, uuid7
from auditspan.format.key_addition import KEY_ADDED, TARGET, KeyAddition
from auditspan.format.key_line import SECRET_BYTES
from auditspan.format.keyring import Keyring, MacKeys
from auditspan.format.mac import MacKey
from auditspan.format.printable import printable, printable_json
from auditspan.format.record import AuditRecord, Outcome
from auditspan.format.record_parts import Actor, ActorType, Request, Service, Target
from auditspan.format.redaction import (
    Secrets,
    is_password_hash,
    is_secret_name,
    matches_any,
    redact,
    redact_members,
    shorten,
    without_password_hashes,
)
from auditspan.format.retention import (
    HOLD,
    PURGE,
    RELEASE,
    RETENTION_TARGET,
    PurgeStatement,
    attested,
    is_attested,
    stated,
)
from auditspan.format.rows import SealedLeaf, SealedRow, SignedCheckpoint
from auditspan.format.values import represent, represent_json, timestamp

__all__ = [
    "COLUMNS",
    "HOLD",
    "KEY_ADDED",
    "KEY_BYTES",
    "MAX_INTEGER",
    "MAX_MILLIS",
    "MEMBERS",
    "NONCE_BYTES",
    "OUTCOMES",
    "OWN_ACTIONS",
    "PURGE",
    "RANDOM_BYTES",
    "RELEASE",
    "RETENTION_TARGET",
    "SALT_BYTES",
    "SECRET_BYTES",
    "SUBJECT_ERASED",
    "TARGET",
    "VERIFIED",
    "VIEWED",
    "Actor",
    "ActorType",
    "AuditRecord",
    "Changes",
    "Commitment",
    "Disclosure",
    "ErasureKey",
    "Json",
    "KeyAddition",
    "Keyring",
    "MacKey",
    "MacKeys",
    "Number",
    "Outcome",
    "Pairs",
    "PurgeStatement",
    "Request",
    "SealedLeaf",
    "SealedRow",
    "Secrets",
    "Service",
    "SignedCheckpoint",
    "Subject",
    "SubjectCipher",
    "Target",
    "Values",
    "attested",
    "canonical_json",
    "canonical_scalar",
    "commitment_of",
    "commitments",
    "copy_id",
    "counted",
    "decode_document",
    "derived_columns",
    "disclosed_value",
    "document_text",
    "in_change_order",
    "is_attested",
    "is_change_id",
    "is_password_hash",
    "is_secret_name",
    "is_unknown",
    "matches_any",
    "matches_columns",
    "may_have_commitments",
    "parse_canonical",
    "parse_document",
    "printable",
    "printable_json",
    "read_body",
    "read_event",
    "redact",
    "redact_members",
    "represent",
    "represent_json",
    "require_action",
    "require_outcome",
    "shorten",
    "stated",
    "timestamp",
    "uuid7",
    "with_values",
    "without_password_hashes",
]
