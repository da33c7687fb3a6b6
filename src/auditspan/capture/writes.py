"""Detection, by their text, of statements that may write to an audited table."""

from __future__ import annotations

import re
from functools import lru_cache

_START = r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*"
_NO_WRITE = re.compile(
    _START
    + r"(?:SHOW|SET|RESET|SAVEPOINT|RELEASE|ROLLBACK|BEGIN|START|COMMIT|END|DEALLOCATE|LISTEN"
    r"|UNLISTEN|NOTIFY|PRAGMA|CLOSE|LOCK|DISCARD|CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|ANALYZE"
    r"|VACUUM|REINDEX|ATTACH|DETACH)\b",
    re.IGNORECASE | re.DOTALL,
)
_READ = re.compile(
    _START + r"(?:SELECT|VALUES|TABLE|PREPARE|DECLARE|FETCH)\b", re.IGNORECASE | re.DOTALL
)
_CTE = re.compile(_START + r"WITH\b", re.IGNORECASE | re.DOTALL)
_CTE_NAME = re.compile(
    r"([A-Za-z_][\w$]*|\"[^\"]*\")\s*\([^()]*\)\s+AS\s+(?:(?:NOT\s+)?MATERIALIZED\s*)?\(",
    re.IGNORECASE,
)
_DML = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE|MERGE|INTO)\b", re.IGNORECASE)
_FILLED = re.compile(r"\s*CREATE\s[^;(]*\bTABLE\b[^;(]*\sAS\b", re.IGNORECASE)
_SEVERAL = re.compile(r";\s*[^\s;]")
_SCHEMA = re.compile(
    _START + r"(?:ALTER|DROP|CREATE\s+(?!TEMP|INDEX|UNIQUE))", re.IGNORECASE | re.DOTALL
)
_CALL = re.compile(r"([A-Za-z_][\w$.]*|\"[^\"]*\")\s*\(")
_READERS = frozenset(
    re.findall(
        r"\w+",
        "abs all and any array array_agg as avg bool_and bool_or by cast ceil char_length "
        "coalesce concat count date date_part date_trunc dense_rank distinct exists "
        "extract filter floor from greatest group_concat having if ifnull iif in instr "
        "interval join json_agg json_extract json_group_array json_object jsonb_agg "
        "jsonb_build_object lag lead least left length limit lower ltrim max md5 min mod "
        "not now nullif numeric offset on or over partition pg_catalog position power "
        "random rank replace right round row row_number rtrim select set_config strftime "
        "string_agg substr substring sum then timestamp to_char total_changes trim typeof "
        "union unnest upper using values varchar when where with ",
    )
)
_KEPT = 2000
"""Statements whose result is cached."""


@lru_cache(maxsize=_KEPT)
def may_write(statement: str, *, by_functions: bool = True) -> bool:
    """Return whether a statement may change rows.

    A SELECT may if it calls a function that is not known to only read, if it fills a table, or if
    a second statement follows it.

    Args:
        statement: the statement.
        by_functions: whether the functions of the database can write.
    """
    if _SEVERAL.search(statement) or _FILLED.match(statement):
        return True
    if _NO_WRITE.match(statement):
        return False
    is_reading_cte = _CTE.match(statement) is not None and _DML.search(statement) is None
    if _READ.match(statement) is None and not is_reading_cte:
        return True
    if not by_functions:
        return False
    queries = set(_CTE_NAME.findall(statement)) if is_reading_cte else set()
    called = set(_CALL.findall(statement)) - queries
    names = (name.lower().removeprefix("pg_catalog.") for name in called)
    return any(name not in _READERS and not name.startswith("pg_") for name in names)


@lru_cache(maxsize=_KEPT)
def changes_schema(statement: str) -> bool:
    """Return whether a statement may create or drop tables and triggers."""
    return _SCHEMA.match(statement) is not None
