"""The oracle: replaying the bodies of a trail in change order gives exactly the live tables.

Written from the format, and knowing nothing of how rows come to be: a create puts a row, an update
changes the columns that it names and finds each at its old value, a delete takes away a row that is
exactly as it was left. Whatever does not fit raises `ReplayError`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import accumulate
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Float,
    FromClause,
    Interval,
    Numeric,
    Table,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.types import TypeDecorator

from auditspan.format.canonical import canonical_json
from auditspan.format.values import represent

Row = dict[str, Any]
Tables = dict[str, dict[str, Row]]
_NOT_CHANGES = ("create", "update", "delete")


class ReplayError(AssertionError):
    """The trail contradicts itself."""


@dataclass(frozen=True, kw_only=True)
class Links:
    """A link table as a relationship of one of its sides."""

    table: Table
    parent: str
    child: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A table as the trail knows it.

    Attributes:
        table: where its rows live.
        hidden: columns that no body can restore: excluded, ignored or redacted ones.
        key_names: its key, where `table` is a query.
        links: its relationships over link tables, by name.
    """

    table: FromClause
    hidden: frozenset[str] = frozenset()
    key_names: tuple[str, ...] = ()
    links: Mapping[str, Links] = field(default_factory=dict)

    @property
    def key(self) -> list[str]:
        """The names of the primary key's columns."""
        return list(self.key_names) or [column.name for column in self.table.primary_key]


@dataclass
class Replay:
    """The tables as the trail describes them."""

    kinds: Mapping[str, Kind]
    tables: Tables = field(default_factory=dict)
    deleted: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)

    def play(self, bodies: Iterable[str]) -> Tables:
        """Apply bodies, given in id order, in the order of their changes."""
        for name in self.kinds:
            self.tables.setdefault(name, {})
        for event in _in_change_order([json.loads(body) for body in bodies]):
            self._apply(event)
        return self.tables

    def _apply(self, event: dict[str, Any]) -> None:
        target, _, verb = event["action"].rpartition(".")
        if target in self.kinds and verb in _NOT_CHANGES:
            getattr(self, f"_{verb}")(self.kinds[target], self.tables[target], event)

    def _create(self, kind: Kind, rows: dict[str, Row], event: dict[str, Any]) -> None:
        key = event["target"]["id"]
        if key in rows:
            raise ReplayError(f"created twice: {event}")
        rows[key] = {name: change["new"] for name, change in event["changes"].items()}
        rows[key] |= {name: [] for name in kind.links}

    def _update(self, kind: Kind, rows: dict[str, Row], event: dict[str, Any]) -> None:
        before = _key_before(kind, event)
        if before not in rows and event["changes"].keys() <= kind.links.keys():
            self._unlink_deleted(before, event)
            return
        if before not in rows:
            raise ReplayError(f"updated but never created: {event}")
        row = rows.pop(before)
        for name, change in event["changes"].items():
            if name in kind.links:
                row[name] = _linked(row[name], change)
                continue
            was = _exactly(row.get(name))
            # A hidden column may change without a row, and a redacted one without a trace.
            is_open = name not in kind.hidden
            if is_open and (was != _exactly(change["old"]) or was == _exactly(change["new"])):
                raise ReplayError(f"{name} was {was}: {event}")
            row[name] = change["new"]
        rows[event["target"]["id"]] = row

    def _unlink_deleted(self, key: str, event: dict[str, Any]) -> None:
        """Apply link changes of a deleted object, which PostgreSQL records after its deletion."""
        links = self.deleted.get((event["target"]["type"], key), {})
        for name, change in event["changes"].items():
            if "added" in change:
                raise ReplayError(f"linked after its deletion: {event}")
            links[name] = _linked(links.get(name, []), change)

    def _delete(self, kind: Kind, rows: dict[str, Row], event: dict[str, Any]) -> None:
        row = rows.pop(event["target"]["id"], None)
        old = {name: change["old"] for name, change in event["changes"].items()}
        hidden = kind.hidden | kind.links.keys()  # a deletion says nothing of links
        target = (event["target"]["type"], event["target"]["id"])
        self.deleted[target] = {name: (row or {}).get(name, []) for name in kind.links}
        if row is None or _exactly(_without(row, hidden)) != _exactly(_without(old, hidden)):
            raise ReplayError(f"deleted, but was {row}: {event}")


def _in_change_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By change id; an event without one is behind all that were recorded before it."""
    own = [event.get("change_id") for event in events]
    newest = accumulate((id_ or 0 for id_ in own), max)
    keys = [(id_ or before, id_ is None) for id_, before in zip(own, newest, strict=True)]
    order = sorted(range(len(events)), key=keys.__getitem__)
    return [events[place] for place in order]


def live_tables(connection: Connection, kinds: Mapping[str, Kind]) -> Tables:
    """The tables as they are, in the form of a body."""
    if not kinds:
        return {}
    has_rows = [_has_rows(connection, kind.table) for kind in kinds.values()]
    filled = connection.exec_driver_sql(f"SELECT {', '.join(has_rows)}").one()
    return {
        name: _live_rows(connection, kind) if has_rows else {}
        for (name, kind), has_rows in zip(kinds.items(), filled, strict=True)
    }


def assert_replays(
    connection: Connection, bodies: Iterable[str], kinds: Mapping[str, Kind]
) -> None:
    """Fail where the replayed tables are not the live ones."""
    replayed = Replay(kinds=kinds).play(bodies)
    shown = {
        name: {key: _without(row, kinds[name].hidden) for key, row in rows.items()}
        for name, rows in replayed.items()
    }
    live = live_tables(connection, kinds)
    assert live == shown
    assert _exactly(live) == _exactly(shown)


_known: WeakKeyDictionary[FromClause, dict[str, str]] = WeakKeyDictionary()


def _has_rows(connection: Connection, table: FromClause) -> str:
    """SQL, compiled once for each kind of database: the engine of a test compiles all anew."""
    known = _known.setdefault(table, {})
    if connection.dialect.name not in known:
        query = select(literal_column("1")).select_from(table).exists()
        made = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        known[connection.dialect.name] = str(made)
    return known[connection.dialect.name]


def _live_rows(connection: Connection, kind: Kind) -> dict[str, Row]:
    found: dict[str, Row] = {}
    columns = [_as_stored(column, connection) for column in kind.table.columns]
    for row in connection.execute(select(*columns)).mappings():
        values = {name: represent(value) for name, value in row.items()}
        found[_identity([values[name] for name in kind.key])] = {
            name: _short(value) for name, value in values.items() if name not in kind.hidden
        }
    for name, links in kind.links.items():
        linked = _live_links(connection, links)
        for key, values in found.items():
            values[name] = [*linked.get(key, [])]
    return found


def _as_stored(column: Any, connection: Connection) -> Any:
    """The column without what Python makes of its values: a decorator, or a rounded REAL."""
    type_ = column.type
    if isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):
        type_ = type_.impl_instance
    if connection.dialect.name == "sqlite":
        if isinstance(type_, Numeric) and not isinstance(type_, Float):
            type_ = ShortestDecimal()
        if isinstance(type_, DateTime):
            type_ = DateTime()
    return type_coerce(column, type_).label(column.name)


class ShortestDecimal(TypeDecorator[Decimal]):
    """A number of SQLite, by the shortest text of its double."""

    impl = Float
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        """The exact value of that text."""
        return None if value is None else Decimal(repr(value))


def _linked(ids: list[str], change: dict[str, list[str]]) -> list[str]:
    """The other sides of a link after a change."""
    added, removed = change.get("added", []), change.get("removed", [])
    if change.keys() - {"added", "removed"} or set(added) & set(ids) or set(removed) - set(ids):
        raise ReplayError(f"{ids} cannot change so: {change}")
    return sorted({*ids, *added} - set(removed))


def _live_links(connection: Connection, links: Links) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in connection.execute(select(links.table)).mappings():
        found.setdefault(str(row[links.parent]), []).append(str(row[links.child]))
    return {parent: sorted(children) for parent, children in found.items()}


def _key_before(kind: Kind, event: dict[str, Any]) -> str:
    """The primary key that a row had before its update."""
    after: str = event["target"]["id"]
    changes = event["changes"]
    if not set(kind.key) & set(changes):
        return after
    parts = [after] if len(kind.key) == 1 else json.loads(after)
    named = zip(kind.key, parts, strict=True)
    return _identity([changes[name]["old"] if name in changes else part for name, part in named])


def _identity(parts: list[Any]) -> str:
    """A primary key as text: alone as it is, several as a JSON array."""
    if len(parts) == 1:
        return str(parts[0])
    return canonical_json(parts)


def _short(value: Any) -> Any:
    """A value as a body holds it: length and hash where it is over 16 KiB."""
    raw = (value if isinstance(value, str) else canonical_json(value)).encode()
    if len(raw) <= 16 * 1024:
        return value
    return {"$len": len(raw), "$sha256": hashlib.sha256(raw).hexdigest()}


def _exactly(value: Any) -> str:
    """The text by which values are compared: Python says that 1 == True == 1.0."""
    return json.dumps(value, sort_keys=True)


def _without(row: Row, names: frozenset[str]) -> Row:
    return {name: value for name, value in row.items() if name not in names}
