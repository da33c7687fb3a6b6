"""Recorded values: target ids, and column values without secrets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from auditspan.format import (
    Changes,
    Json,
    MacKey,
    canonical_json,
    is_password_hash,
    redact,
    redact_members,
    represent,
)
from auditspan.mapping.audited_model import AuditedColumn, Represent

_STAND_INS = {"$redacted", "$sha256"}
"""Members of what is recorded in place of a redacted value, or of one that is too long."""

_OPEN = frozenset({int, bool, type(None)})
"""The types of values that are never secret by themselves."""

_logger = logging.getLogger(__name__)


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
    return concealer(column, key)(value)


def concealer(column: AuditedColumn, key: MacKey | None) -> Callable[[Json], Json]:
    """Return the function that redacts the secrets in the values of a column."""
    name, secrets = column.name, column.secrets
    if column.redacted:
        return lambda value: redact(name, value, key)

    def conceal(value: Json) -> Json:
        if type(value) in _OPEN or (type(value) is str and not is_password_hash(value)):
            return value
        return redact_members(name, value, secrets, key)

    return conceal


def readable(
    columns: Iterable[AuditedColumn], changes: Changes, key: MacKey | None
) -> dict[str, Json]:
    """Return the readable forms of changed values, by column and side.

    Args:
        columns: the columns with `Policy(represent)`.
        changes: the changes as they are recorded, so that no function sees a redacted value.
        key: the key for the fingerprints of password hashes.
    """
    found: dict[str, Json] = {}
    for column in columns:
        sides = changes.get(column.name, {})
        forms = {side: form for side, value in sides.items() if (form := _form(column, value))}
        if forms:
            found[column.name] = {
                side: redact_members(column.name, form, column.secrets, key)
                for side, form in forms.items()
            }
    return found


def _form(column: AuditedColumn, value: Json) -> str | None:
    """Return the readable form of a value; None if it has none, or is not shown itself."""
    is_hidden = isinstance(value, dict) and not value.keys().isdisjoint(_STAND_INS)
    if column.represent is None or value is None or is_hidden:
        return None
    try:
        return _as_text(column.represent, value)
    except Exception as error:  # noqa: BLE001 (the application's own; the value is recorded anyway)
        _logger.warning(
            "the function of Policy(represent) for the column %r failed with %s, so that its "
            "record has no readable form",
            column.name,
            type(error).__name__,
        )
        return None


def _as_text(represent: Represent, value: Json) -> str:
    form = represent(value)
    if not isinstance(form, str):
        raise TypeError("expected text")
    return form
