"""Columns of live rows, in the form of a row image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Select, Text

from auditspan.format import Json
from auditspan.mapping import converter, parse_value
from auditspan.storage import ColumnForm, Forms
from auditspan.storage.dialects import DIALECTS
from auditspan.storage.triggers import TRIGGERS, image_value


class ImageValue(ColumnForm[str]):
    """The JSON text of a column's value, as the triggers of this database stage it."""

    type = Text()
    inherit_cache = True
    forms = Forms(
        postgresql=lambda name: f"to_json({name})::text",
        sqlite=lambda name: f"CAST({image_value(name)} AS BLOB)",
    )


def pin_settings(connection: Connection) -> None:
    """Pin, for this transaction, the settings that the text of values depends on."""
    TRIGGERS.of(connection).pin_settings(connection)


def as_images(statement: Select[Any]) -> Select[Any]:
    """Return the same SELECT with each of its columns as an `ImageValue`."""
    columns = [ImageValue(column) for column in statement.selected_columns]
    return statement.with_only_columns(*columns, maintain_column_froms=True)


def stored_forms(statement: Select[Any], dialect: Dialect) -> Callable[[Sequence[Any]], list[Json]]:
    """Return a function that converts a row of `as_images(statement)` to stored values."""
    converters = [converter(column.type, dialect) for column in statement.selected_columns]
    tags = DIALECTS.of(dialect).IMAGES_ARE_TAGGED

    def read(row: Sequence[Any]) -> list[Json]:
        return [
            None if text is None else convert(parse_value(text, tags=tags))
            for convert, text in zip(converters, row, strict=True)
        ]

    return read
