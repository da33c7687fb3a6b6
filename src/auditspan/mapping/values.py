"""Recorded values: target ids, and column values without secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditspan.format import Json, MacKey, canonical_json, redact, redact_members, represent
from auditspan.mapping.audited_model import AuditedColumn


def target_id(identity: Sequence[Any]) -> str:
    """Return the primary key as text; a composite key as a JSON array, which can be parsed back."""
    if len(identity) == 1 and type(identity[0]) is int:
        return str(identity[0])
    parts = [represent(part) for part in identity]
    if len(parts) == 1 and not isinstance(parts[0], dict | list):
        return str(parts[0])
    return canonical_json(parts)


def concealed(column: AuditedColumn, value: Json, key: MacKey | None) -> Json:
    """Return the value for a body, with secrets redacted."""
    if column.redacted:
        return redact(column.name, value, key)
    return redact_members(column.name, value, column.secrets, key)
