r"""SQL expressions for row images on SQLite.

An image is built by concatenation: `json_object` takes at most 63 columns, refuses BLOBs and rounds
REALs. The `||` form a balanced tree, since SQLite limits the depth of an expression to 1,000.

    INTEGER   1
    REAL      0.10000000000000000555: 20 significant digits, 9e999 for infinity
    TEXT      "a JSON string", with the bytes of the text
    BLOB      {"$blob":"HEX"}

An image of a row is staged as a BLOB, which no driver decodes: text may hold any bytes.

SQL cannot distinguish -0.0 from 0.0, and only a column without affinity stores the difference. Both
are written as 0.0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

from sqlalchemy import Dialect

from auditspan.storage.triggers.staged_table import StagedTable


def image(staged: StagedTable, alias: str, dialect: Dialect) -> str:
    """Return the SQL expression for the image of one row of this table.

    Args:
        staged: the table; its excluded columns are not in the image.
        alias: `NEW`, `OLD` or the quoted name of the table in a SELECT.
        dialect: the dialect that quotes names.
    """
    return f"CAST({image_of(image_columns(staged), alias, dialect)} AS BLOB)"


def image_of(names: Sequence[str], alias: str, dialect: Dialect) -> str:
    """Return the SQL expression for an image of these columns only, as text."""
    if not names:
        return "'{}'"
    keys = [json.dumps(name) + ":" for name in names]
    parts = [string("{" + keys[0])]
    for name, (_, key) in zip(names, pairwise([*keys, None]), strict=True):
        parts.append(image_value(f"{alias}.{quoted(name, dialect)}"))
        parts.append(string("}" if key is None else "," + key))
    return balanced(parts, "||")


def image_columns(staged: StagedTable) -> list[str]:
    """Return the names of the columns that an image of this table has."""
    return [c.name for c in staged.columns if c.name not in staged.excluded]


def differs(names: Sequence[str], dialect: Dialect) -> str:
    """Return the SQL condition that OLD and NEW differ in one of these columns.

    Values of different storage classes differ (1 is not 1.0), and so do texts that are equal only
    by the collation of the column.
    """
    return balanced([_differs(quoted(name, dialect)) for name in names], " OR ") if names else "0"


def quoted(name: str, dialect: Dialect) -> str:
    """Quote an identifier, even if it is not necessary."""
    return dialect.identifier_preparer.quote_identifier(name)


def string(value: str) -> str:
    """Return an SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def balanced(parts: Sequence[str], operator: str) -> str:
    """Join expressions with an associative operator, in a tree as shallow as possible."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    left, right = balanced(parts[:middle], operator), balanced(parts[middle:], operator)
    return f"({left}{operator}{right})"


def _differs(name: str) -> str:
    old, new = f"OLD.{name}", f"NEW.{name}"
    return f"({old} IS NOT {new} COLLATE BINARY OR typeof({old})<>typeof({new}))"


def image_value(column: str) -> str:
    """Return the SQL expression for the JSON text of one value."""
    return (
        f"CASE typeof({column}) WHEN 'null' THEN 'null' WHEN 'integer' THEN {column}"
        f" WHEN 'text' THEN json_quote({column}||'')"
        f" WHEN 'real' THEN CASE {column} WHEN 9e999 THEN '9e999' WHEN -9e999 THEN '-9e999'"
        f" ELSE printf('%!.20g',{column}) END"
        f""" ELSE '{{"$blob":"'||hex({column})||'"}}' END"""
    )
