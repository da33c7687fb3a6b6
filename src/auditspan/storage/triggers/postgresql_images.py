"""PL/pgSQL that takes the image of a row, without excluded and unchanged large values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Time,
    Uuid,
)
from sqlalchemy.dialects.postgresql import DOMAIN, INTERVAL
from sqlalchemy.types import CHAR, TypeDecorator, TypeEngine

from auditspan.storage.triggers.staged_table import StagedTable

LARGE = 2_000
"""The stored size in bytes above which the images of an UPDATE omit unchanged values."""

LONG = 16 * 1024
"""The size above which texts, and base64 texts of bytes, are staged as length and SHA-256."""

_BOUNDED = (Boolean, Date, DateTime, Enum, Float, Integer, Interval, INTERVAL, Time, Uuid)


@dataclass(frozen=True, kw_only=True)
class ImageColumn:
    """Column that an image does not always contain.

    Attributes:
        name: its name.
        excluded: the column is never in an image.
        domain: its type may refuse NULL, so that it cannot be cleared in the record.
        measured: the kind of value that may be staged as a digest, `text` or `bytes`.
    """

    name: str
    excluded: bool
    domain: bool
    measured: str | None


def image_columns(staged: StagedTable, dialect: Dialect) -> list[ImageColumn]:
    """Return the columns of a table that are excluded or may be large."""
    found = []
    for column in staged.columns:
        excluded = column.name in staged.excluded
        kind = _database_type(column, dialect)
        base = kind.data_type if isinstance(kind, DOMAIN) else kind
        if excluded or not (column.primary_key or _bounded(base)):
            found.append(
                ImageColumn(
                    name=column.name,
                    excluded=excluded,
                    domain=isinstance(kind, DOMAIN),
                    measured=_measured(base),
                )
            )
    known = {column.name for column in staged.table.columns}
    return found + [
        ImageColumn(name=name, excluded=True, domain=True, measured=None)
        for name in sorted(staged.excluded - known)  # from an earlier or later revision
    ]


def _database_type(column: Column[object], dialect: Dialect) -> TypeEngine[object]:
    kind: TypeEngine[object] = column.type.dialect_impl(dialect)
    while isinstance(kind, TypeDecorator):
        kind = kind.type_engine(dialect)
    return kind


def _bounded(kind: TypeEngine[object]) -> bool:
    if isinstance(kind, String) and not isinstance(kind, Enum):
        return kind.length is not None and kind.length * 4 <= LARGE
    if isinstance(kind, Numeric) and not isinstance(kind, Float):
        return kind.precision is not None
    return isinstance(kind, _BOUNDED)


def _measured(kind: TypeEngine[object]) -> str | None:
    if isinstance(kind, LargeBinary):
        return "bytes"
    if isinstance(kind, String) and not isinstance(kind, CHAR | Enum):
        return "text" if kind.length is None or kind.length * 4 > LONG else None
    return None


def shown_columns(columns: list[ImageColumn], dialect: Dialect) -> str:
    """Return PL/pgSQL that selects NULL in place of excluded columns that refuse it."""
    names = [
        literal(column.name, dialect) for column in columns if column.excluded and column.domain
    ]
    if not names:
        return ""
    among = ", ".join(names)
    return f"""    SELECT string_agg(CASE WHEN attname IN ({among}) THEN 'NULL AS ' ELSE '' END
                      || quote_ident(attname), ', ' ORDER BY attnum) INTO shown
      FROM pg_attribute WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped;"""


def clear_excluded(columns: list[ImageColumn], dialect: Dialect) -> Iterator[str]:
    """Yield PL/pgSQL that clears excluded columns, and returns if nothing else changed."""
    excluded = [column for column in columns if column.excluded]
    for record, other in (("OLD", "INSERT"), ("NEW", "DELETE")) if excluded else ():
        yield f"    IF TG_OP <> '{other}' THEN"
        for column in excluded:
            yield from clear(record, column, dialect)
        yield "    END IF;"
    if excluded and not any(column.domain for column in excluded):
        yield "    IF TG_OP = 'UPDATE' AND OLD OPERATOR(pg_catalog.*=) NEW THEN"
        yield "        RETURN NULL;"
        yield "    END IF;"


def measure_large(
    columns: list[ImageColumn], discriminator: str | None, dialect: Dialect
) -> Iterator[str]:
    """Yield PL/pgSQL that notes unchanged large values, and digests of long values.

    Where the class of the object changes, no value is left out: its columns begin another record.
    """
    if not columns:
        return
    kind = "" if discriminator is None else f" AND {_is_unchanged(discriminator, dialect)}"
    lines = [f"    IF TG_OP = 'UPDATE'{kind} THEN"]
    for column in columns:
        lines += _unchanged(column, dialect)
    lines.append("    END IF;")
    for record, other in (("OLD", "INSERT"), ("NEW", "DELETE")):
        measured = [column for column in columns if column.measured]
        if measured:
            lines.append(f"    IF TG_OP <> '{other}' THEN")
            lines += [line for column in measured for line in digest(record, column, dialect)]
            lines.append("    END IF;")
    yield tolerant("\n".join(lines))


def tolerant(lines: str) -> str:
    """Wrap PL/pgSQL to stop at a column dropped or renamed since; later values are kept whole."""
    return (
        f"    BEGIN\n{lines}\n    EXCEPTION WHEN undefined_column THEN\n        NULL;\n    END;"
        if lines
        else ""
    )


def _unchanged(column: ImageColumn, dialect: Dialect) -> Iterator[str]:
    yield f"        IF pg_column_size(OLD.{identifier(column.name, dialect)}) > {LARGE}"
    yield f"            AND {_is_unchanged(column.name, dialect)} THEN"
    yield f"        same := concat_ws(', ', same, {_key(column, dialect)});"
    for record in ("OLD", "NEW"):
        yield from clear(record, column, dialect)
    yield "        END IF;"


def _is_unchanged(name: str, dialect: Dialect) -> str:
    column = identifier(name, dialect)
    return f"record_image_eq(ROW(OLD.{column}), ROW(NEW.{column}))"


def digest(record: str, column: ImageColumn, dialect: Dialect) -> Iterator[str]:
    """Yield PL/pgSQL that replaces a long value with a note of its length and SHA-256."""
    value = f"{record}.{identifier(column.name, dialect)}"
    if column.measured == "bytes":
        size, limit = f"octet_length({value})", LONG // 4 * 3
        content = f"convert_to(replace(encode({value}, 'base64'), chr(10), ''), 'UTF8')"
        length = f"({size}::bigint + 2) / 3 * 4"
    else:
        size, limit = f"octet_length({value}::text)", LONG
        content = f"convert_to({value}::text, 'UTF8')"
        length = f"octet_length({content})"
    note, hidden = f"{record.lower()}_long", f"{record.lower()}_hidden"
    unseen = f" AND {literal(column.name, dialect)} <> ALL (coalesce({hidden}, '{{}}'))"
    yield f"        IF {size} > {limit}{unseen if column.domain else ''} THEN"
    yield f"        {note} := concat_ws(', ', {note}, {_key(column, dialect)} || ': {{\"$len\": '"
    yield f'            || {length} || \', "$sha256": "\''
    yield f"            || encode(sha256({content}), 'hex') || '\"}}');"
    yield from clear(record, column, dialect)
    yield "        END IF;"


def clear(record: str, column: ImageColumn, dialect: Dialect) -> Iterator[str]:
    """Yield PL/pgSQL that clears a value in a record, or hides it if its domain may refuse NULL."""
    field = f"{record}.{identifier(column.name, dialect)}"
    if not column.domain:
        yield f"        {field} := NULL;"
        return
    # The comparison raises if the column was renamed; otherwise its value would be in the image.
    hidden = f"{record.lower()}_hidden"
    yield f"        IF {field} IS NOT NULL THEN"
    yield f"        {hidden} := array_append({hidden}, {literal(column.name, dialect)}::text);"
    yield "        END IF;"


def _key(column: ImageColumn, dialect: Dialect) -> str:
    return literal(json.dumps(column.name, ensure_ascii=False), dialect)


def take_image(record: str, columns: list[ImageColumn]) -> str:
    """Return PL/pgSQL that takes the image of a record, followed by its notes."""
    name = record.lower()
    noted = any(not column.excluded for column in columns)
    whole = f"        {name}_image := row_to_json({record})::text"
    if any(column.domain for column in columns):
        whole = f"""        IF {name}_hidden IS NULL THEN
        {whole.strip()};
        ELSE
        EXECUTE 'SELECT row_to_json(image)::text FROM (SELECT ' || (
            SELECT string_agg(CASE WHEN attname = ANY ({name}_hidden) THEN 'NULL' ELSE '($1).'
                              || quote_ident(attname) END || ' AS ' || quote_ident(attname),
                              ', ' ORDER BY attnum)
              FROM pg_attribute WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped
            ) || ') AS image' INTO {name}_image USING {record};
        END IF;
        {name}_image := {name}_image"""
    return whole + (notes(f"{name}_long", "same") if noted else "") + ";"


def notes(long: str, same: str = "NULL::text") -> str:
    """Return the expression that appends notes to an image, if there are any."""
    return f"""
            || coalesce(chr(10) || '{{' || nullif(concat_ws(', ', '"same": [' || {same} || ']',
                        '"long": {{' || {long} || '}}'), '') || '}}', '')"""


def literal(name: str, dialect: Dialect) -> str:
    """Quote text as a literal, with percent signs doubled if the driver requires it."""
    processor = String().literal_processor(dialect)  # type: ignore[no-untyped-call]
    return str(processor(name)) if processor else "'" + name.replace("'", "''") + "'"


def identifier(name: str, dialect: Dialect) -> str:
    """Quote a name, always: PL/pgSQL reserves more words than SQL."""
    return str(dialect.identifier_preparer.quote_identifier(name))
