"""Live row of one object, read in the form in which the trail records it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Select, and_

from auditspan.capture import busy
from auditspan.reading.replay import Fields, ObjectType, as_images, pin_settings, stored_forms
from auditspan.reading.states.values import Value


def read_live(
    connection: Connection, type_: ObjectType, identity: Sequence[Value]
) -> Fields | None:
    """Return the recorded columns of the row with this primary key, without redaction, or None."""
    width = len(type_.key_names)
    key = [*type_.rows.selected_columns][:width]
    named = zip(key, identity, strict=True)
    rows: Select[tuple[object, ...]] = type_.rows.where(and_(*(c == value for c, value in named)))
    read = stored_forms(rows, connection.dialect)
    with busy(connection), _pinned(connection):
        row = connection.execute(as_images(rows)).first()
    if row is None:
        return None
    return {column.name: v for column, v in zip(type_.columns, read(row)[width:], strict=True)}


@contextmanager
def _pinned(connection: Connection) -> Iterator[None]:
    """Pin the settings of the database inside a savepoint, whose rollback restores them."""
    savepoint = connection.begin_nested()
    try:
        pin_settings(connection)
        yield
    finally:
        savepoint.rollback()
