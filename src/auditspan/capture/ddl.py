"""Parser for the tables that a DDL statement creates, alters or drops."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_NAME = r"""(?:"(?:[^"]|"")+"|`[^`]+`|\[[^\]]+\]|[^\s"'`\[\](),;.]+)"""
_FULL = rf"(?:{_NAME}\s*\.\s*)?({_NAME})"
_START = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_TABLE = re.compile(
    _START + r"(ALTER|DROP|CREATE)\s+(?:(?:GLOBAL|LOCAL|TEMP|TEMPORARY|UNLOGGED)\s+)*TABLE\s+"
    rf"(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(?:ONLY\s+)?{_FULL}",
    re.IGNORECASE | re.DOTALL,
)
_RENAMED = re.compile(rf"\bRENAME\s+TO\s+({_NAME})", re.IGNORECASE)
_INDEX = re.compile(
    _START + rf"CREATE\s+(?:UNIQUE\s+)?INDEX\b.*?\bON\s+(?:ONLY\s+)?{_FULL}",
    re.IGNORECASE | re.DOTALL,
)


class Change(NamedTuple):
    """A change of the schema by one statement.

    Attributes:
        verb: ALTER, DROP, CREATE or INDEX.
        tables: the table names without schema, in lower case; both names of a renamed table.
    """

    verb: str
    tables: frozenset[str]


@lru_cache(maxsize=500)
def schema_change(statement: str) -> Change | None:
    """Return the schema change that a statement makes; None if it changes no table."""
    found = _TABLE.match(statement)
    if found:
        renamed = _RENAMED.search(statement, found.end()) if found[1].upper() == "ALTER" else None
        names = (found[2], *([renamed[1]] if renamed else []))
        return Change(found[1].upper(), frozenset(map(_plain, names)))
    found = _INDEX.match(statement)
    return Change("INDEX", frozenset({_plain(found[1])})) if found else None


def _plain(name: str) -> str:
    if name[0] in '"`[':
        return name[1:-1].replace('""', '"').lower()
    return name.lower()
