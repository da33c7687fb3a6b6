"""The values of one object before and after a flush, true also where the session never had them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ClauseElement, Column, Connection, select, tuple_
from sqlalchemy.orm import InstanceState, LoaderCallableStatus, Mapper

from auditspan.auditedmodel import AuditedColumn, AuditedModel
from auditspan.canonical import Json, canonical_json, represent
from auditspan.coercion import as_kept
from auditspan.diff import Changes, created, deleted, updated
from auditspan.errors import AuditBodyError
from auditspan.mac import MacKey
from auditspan.redact import redact, redact_members

NO_VALUE = LoaderCallableStatus.NO_VALUE

Verb = Literal["create", "update", "delete"]
Values = dict[str, Any]

_BATCH = 500
"""Primary keys in one SELECT; SQLite takes 32,766 parameters, and plans stay small."""


@dataclass(kw_only=True, eq=False, slots=True)
class Change:
    """One object that a flush wrote: raw values by attribute key."""

    verb: Verb
    model: AuditedModel
    mapper: Mapper[Any]
    state: InstanceState[Any]
    old: Values
    new: Values

    @property
    def identity(self) -> tuple[Any, ...]:
        """The primary key after the flush; before it, for a delete."""
        values = self.old if self.verb == "delete" else self.new
        return tuple(values[key] for key in self.model.primary_key)

    @property
    def version(self) -> int | None:
        """The version after the flush; before it, for a delete."""
        key = self.model.version_key
        values = self.old if self.verb == "delete" else self.new
        version = values.get(key) if key else None
        return version if isinstance(version, int) else None


def old_values(  # noqa: PLR0913 (what a mapper hook knows)
    connection: Connection,
    mapper: Mapper[Any],
    state: InstanceState[Any],
    model: AuditedModel,
    verb: Verb,
    *,
    is_stale: bool = False,
) -> Values:
    """What the row held before this flush, of every column that the flush may change.

    Where `is_stale`, a statement has written past the session, and the row is read again.

    MUST be called before the statement runs (`before_update`, `before_delete`): SQLAlchemy drops
    the old value of an expression, and of what the flush generates, when it runs.
    """
    keys: Iterable[str] = model.all_keys
    if verb != "delete":
        known = model.by_key
        changed = [key for key in state.committed_state if key in known]
        keys = {*model.generated, *changed} if model.generated else changed
    old = {key: _committed(state, key) for key in keys}
    missing = [key for key, value in old.items() if is_stale or value is NO_VALUE]
    if missing:
        identity = state.identity or tuple(state.dict[k] for k in model.primary_key)
        found = _select(connection, mapper, missing, [identity]).get(identity, {})
        old.update({key: found.get(key, _or_null(old[key])) for key in missing})
    return old


def new_values(state: InstanceState[Any], model: AuditedModel, verb: Verb, old: Values) -> Values:
    """What the object holds after its statement; NO_VALUE where only the database knows."""
    if verb == "create":
        absent = dict.fromkeys(model.undefaulted - state.dict.keys())
        return _current(state, model.all_keys) | absent
    for key, value in state.committed_state.items():
        if key not in old and key in model.by_key:
            old[key] = value  # set by another listener
    return _current(state, {*old, *model.naming})


def complete(connection: Connection, changes: Iterable[Change]) -> None:
    """Fetch what only the database knows, one SELECT for 500 objects of a kind."""
    groups: defaultdict[tuple[Mapper[Any], tuple[str, ...]], list[Change]] = defaultdict(list)
    for change in changes:
        missing = [key for key, value in change.new.items() if value is NO_VALUE]
        if missing:
            groups[change.mapper, tuple(sorted(missing))].append(change)
    for (mapper, keys), group in groups.items():
        for start in range(0, len(group), _BATCH):
            batch = group[start : start + _BATCH]
            rows = _select(connection, mapper, keys, [change.identity for change in batch])
            for change in batch:
                change.new.update(rows[change.identity])


def describe(change: Change, key: MacKey | None) -> Changes | None:
    """The changes as they stand in the body; None for an update of nothing that counts."""
    model = change.model
    if change.verb == "create":
        changes = created(_represented(change.new, model.by_key))
    elif change.verb == "delete":
        changes = deleted(_represented(change.old, model.by_key))
    else:
        new = {key: change.new[key] for key in change.old}
        changes = updated(*(_represented(side, model.by_key) for side in (change.old, new)))
        if changes.keys() <= model.ignored:
            return None
    veiled = model.veiled
    for name in veiled.intersection(changes):
        column = model.by_name[name]
        changes[name] = {side: concealed(column, v, key) for side, v in changes[name].items()}
    return changes


def target_id(identity: Sequence[Any]) -> str:
    """The primary key as text; a composite one as a JSON array, from which it can be read back."""
    if len(identity) == 1 and type(identity[0]) is int:
        return str(identity[0])
    parts = [represent(part) for part in identity]
    if len(parts) == 1 and not isinstance(parts[0], dict | list):
        return str(parts[0])
    return canonical_json(parts)


def as_column_keeps(column: Column[Any], value: Any) -> Json:  # noqa: ANN401
    """The value as it stands in a body.

    Raises:
        AuditBodyError: it has no lossless form; the error names the column and not the value.
    """
    try:
        return as_kept(column.type, value)
    except AuditBodyError as error:
        raise _named(column, error) from error


def concealed(column: AuditedColumn, value: Json, key: MacKey | None) -> Json:
    """The value as a body shows it: without secrets."""
    if column.redacted:
        return redact(column.name, value, key)
    return redact_members(column.name, value, column.secrets, key)


def _committed(state: InstanceState[Any], key: str) -> Any:  # noqa: ANN401
    values = state.committed_state if key in state.committed_state else state.dict
    value = values.get(key, NO_VALUE)
    return NO_VALUE if isinstance(value, LoaderCallableStatus) else value


def _or_null(value: Any) -> Any:  # noqa: ANN401
    return None if value is NO_VALUE else value


def _current(state: InstanceState[Any], keys: Iterable[str]) -> Values:
    get = state.dict.get
    return {
        key: NO_VALUE if isinstance(value := get(key, NO_VALUE), ClauseElement) else value
        for key in keys
    }


def _select(
    connection: Connection,
    mapper: Mapper[Any],
    keys: Sequence[str],
    identities: Sequence[tuple[Any, ...]],
) -> dict[tuple[Any, ...], Values]:
    wanted = [mapper.get_property(key).columns[0] for key in keys]
    primary = list(mapper.primary_key)
    where = (
        tuple_(*primary).in_(identities)
        if len(primary) > 1
        else primary[0].in_([identity[0] for identity in identities])
    )
    statement = select(*primary, *wanted).select_from(mapper.selectable).where(where)
    width = len(primary)
    return {
        tuple(row[:width]): dict(zip(keys, row[width:], strict=True))
        for row in connection.execute(statement)
    }


def _represented(values: Values, columns: Mapping[str, AuditedColumn]) -> dict[str, Json]:
    kept: dict[str, Json] = {}
    for key, value in values.items():
        column = columns.get(key)
        if column is not None:
            try:  # not through `as_column_keeps`: this runs for every value of every flush
                kept[column.name] = as_kept(column.column.type, value)
            except AuditBodyError as error:
                raise _named(column.column, error) from error
    return kept


def _named(column: Column[Any], error: AuditBodyError) -> AuditBodyError:
    return AuditBodyError(f"column {column.name!r}: {error.message}")
