"""Lookup of the class of a joined-inheritance object whose base row is not among its changes.

The rows of one object may end up in different batches, since the size of a batch is bounded.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Connection, Row, Table, func, select, text

from auditspan.capture.parts import Part
from auditspan.format import Json, Number, represent
from auditspan.mapping import AuditedKind, Image
from auditspan.storage import dialect_of

_IN_MEMORY = 2000
"""States of base rows that are kept in memory."""

_CACHE_KIB = 32 * 1024
"""The size of SQLite's page cache, beyond which it writes to its temporary file."""

_SCHEMA = "CREATE TABLE state (row, at, value, PRIMARY KEY (row, at)) WITHOUT ROWID"
_PUT = "INSERT OR REPLACE INTO state VALUES (?, ?, ?)"
_NEAREST = """
SELECT * FROM (SELECT value, at FROM state WHERE row = :row AND at <= :at ORDER BY at DESC LIMIT 1)
UNION ALL
SELECT * FROM (SELECT value, at FROM state WHERE row = :row AND at > :at ORDER BY at LIMIT 1)
LIMIT 1
"""

Standing = tuple[AuditedKind | None, int]
"""The kind of a row, which decides what is recorded, and the change id of the record.

A row that is deleted after its base row counts as deleted just before it: the object ends with the
base row.
"""


@dataclass(kw_only=True)
class ObjectClasses:
    """Lookup of the class that an object had when one of its rows was changed.

    The lookup searches the changes of the base row that were read, the live base row, the trail,
    and the changes of the base row that are still to be read, in that order.

    Attributes:
        trail: the table of events; None to search only the staged changes and the live rows.
        read_on: reads further changes of base rows; returns False when there are no more.
    """

    connection: Connection
    trail: Table | None
    read_on: Callable[[], bool]
    _seen: Discriminators = field(init=False)

    def __post_init__(self) -> None:
        """Start with no discriminators."""
        self._seen = Discriminators()

    def add(self, part: Part) -> None:
        """Remember the discriminators of a base row before and after a change."""
        self._seen.add(part)

    def find(self, part: Part) -> Standing:
        """Find the class of the object that a row outside the base table belongs to."""
        seen = self._seen.find(part)
        live = None if seen else _read_live(self.connection, part)
        if live:
            return part.reader.kind_of(live[0]), part.change.id
        recorded = None if seen else self._recorded(part)
        if recorded:
            return recorded
        while not seen and self.read_on():
            seen = self._seen.find(part)
        value, end = seen or (None, None)
        return part.reader.kind_of(value), _change_id(part, end)

    def has_row(self, table: Table, part: Part) -> bool:
        """Return whether the object of this row has a row in the table of a subclass."""
        key = table.primary_key.columns[0]
        return _row_of(self.connection, table, key, part) is not None

    def _recorded(self, part: Part) -> Standing | None:
        """Return the class that the object's recorded events give, if there are any."""
        if self.trail is None:
            return None
        audited, event, last = part.reader.audited, self.trail.c, func.max(self.trail.c.id)
        kinds = {kind.type: kind for kind in (audited.default, *audited.kinds.values()) if kind}
        found = self.connection.execute(
            select(event.target_type, event.action, last)
            .where(event.target_type.in_(kinds), event.target_id.in_({part.id, part.old_id}))
            .group_by(event.target_type, event.action)
            .order_by(last)
        ).all()
        ends = [row for row in found if row[1] in {f"{row[0]}.create", f"{row[0]}.delete"}]
        end = None
        if ends and ends[-1][1].endswith(".delete"):
            body = select(event.body).where(event.id == ends[-1][2])
            end = json.loads(self.connection.execute(body).scalar_one()).get("change_id")
        return (kinds[found[-1][0]], _change_id(part, end)) if found else None


def _change_id(part: Part, end: int | None) -> int:
    return part.change.id if end is None or part.new is not None else end - 1


class Discriminators:
    """Discriminators of base rows, by the changes that made and removed them.

    Beyond a fixed number, they are kept in a temporary SQLite file.
    """

    def __init__(self) -> None:
        self._near: list[tuple[str, int, str]] = []
        self._file: sqlite3.Connection | None = None

    def add(self, part: Part) -> None:
        """Remember the discriminators before and after a change of a base row."""
        table = part.reader.audited.table
        for at, image in ((2 * part.change.id, part.old), (2 * part.change.id + 1, part.new)):
            if image is not None:
                value = json.dumps(part.reader.discriminator(image))
                self._near.append((_row(table, part.reader.id(image)), at, value))
        if len(self._near) > _IN_MEMORY:
            self._write()

    def find(self, part: Part) -> tuple[Json, int | None] | None:
        """Return the last discriminator before a change of another row, else the first after it.

        The second value is the change that had removed the base row, if any.
        """
        column = part.reader.audited.discriminator
        if column is None or (not self._near and self._file is None):
            return None
        wanted = {"row": _row(column.table, part.id), "at": 2 * part.change.id}
        found = self._write().execute(_NEAREST, wanted).fetchone()
        if found is None:
            return None
        value, at = found
        is_removed = at < wanted["at"] and at % 2 == 0
        return json.loads(value), at // 2 if is_removed else None

    def _write(self) -> sqlite3.Connection:
        if self._file is None:
            self._file = sqlite3.connect("", isolation_level=None)  # "": private and temporary
            for statement in ("PRAGMA journal_mode = OFF", f"PRAGMA cache_size = -{_CACHE_KIB}"):
                self._file.execute(statement)
            self._file.execute(_SCHEMA)
        if self._near:
            self._file.execute("BEGIN")
            self._file.executemany(_PUT, self._near)
            self._file.execute("COMMIT")
            self._near.clear()
        return self._file


def _row(table: Table, id_: str) -> str:
    return json.dumps([table.key, id_])


def _read_live(connection: Connection, part: Part) -> tuple[Json] | None:
    """Return the discriminator of the base row in the database; None if there is no row."""
    column = part.reader.audited.discriminator
    row = None if column is None else _row_of(connection, column.table, column, part)
    return None if row is None else (represent(row[0]),)


def _row_of(
    connection: Connection, table: Table, column: Column[Any], part: Part
) -> Row[Any] | None:
    """Return a column of another row of the object; None if there is no such row."""
    quote = dialect_of(connection).identifier_preparer
    keys = [quote.format_column(one).replace(":", r"\:") for one in table.primary_key]
    where = " AND ".join(f"{key} = :key_{place}" for place, key in enumerate(keys))
    source, name = quote.format_table(table), quote.format_column(column)
    statement = text(f"SELECT {name} FROM {source} WHERE {where}")  # noqa: S608 (quoted names)
    own = part.reader.audited.key
    values = {f"key_{n}": _driver_value(part.last, one.name) for n, one in enumerate(own)}
    return connection.execute(statement, values).first()


def _driver_value(image: Image, name: str) -> object:
    """Return a value of an image as a parameter that the database compares with its own."""
    raw = image.values[name]
    if isinstance(raw, Number):
        return int(raw) if raw.lstrip("-").isdecimal() else float(raw)
    return raw
