"""SQL as text: which audited tables a statement that nobody has compiled writes to.

A net against mistakes, not against somebody who wants to slip through: it reads the statement, and
not what functions, triggers or dynamic SQL do when it runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NOISE = re.compile(r"--[^\n]*|/\*.*?\*/|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'", re.DOTALL)
_NAME = r'(?:"(?:[^"]|"")+"|`[^`]+`|\[[^\]]+\]|[\w$]+)'
_PATH = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_WRITE = re.compile(
    rf"""
    \b(?:
        (?P<insert>(?:insert(?:\s+or\s+\w+)?|replace|merge)\s+into)
      | (?<!\bfor\s)(?<!\bkey\s)(?<!\bdo\s)(?<!\bon\s)(?P<update>update(?:\s+or\s+\w+)?)
      | (?P<delete>delete\s+from)
      | (?P<truncate>truncate(?:\s+table)?)
      | (?P<ddl>(?:alter|drop)\s+table(?:\s+if\s+exists)?)
      | (?P<copy>copy)(?=\s+{_PATH}(?:\s*\([^)]*\))?\s+from\b)
    )\s+(?:only\s+)?
    (?P<tables>{_PATH}(?:\s*,\s*(?:only\s+)?{_PATH})*)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_PART = re.compile(_NAME)


@dataclass(frozen=True)
class TextWrite:
    """One write that a text of SQL holds."""

    verb: str
    schema: str | None
    table: str


def text_writes(sql: str) -> list[TextWrite]:
    """The writes in a text of SQL, of one statement or several.

    >>> text_writes("UPDATE public.person SET name = 'DELETE FROM x' -- insert into y")
    [TextWrite(verb='update', schema='public', table='person')]
    >>> text_writes("SELECT * FROM person FOR UPDATE")
    []
    """
    return [
        write
        for match in _WRITE.finditer(re.sub(r"\s+", " ", _NOISE.sub("''", sql)))
        for write in _writes(match)
    ]


def _writes(match: re.Match[str]) -> list[TextWrite]:
    verb = next(name for name, found in match.groupdict().items() if found and name != "tables")
    paths = re.findall(rf"(?:only\s+)?({_PATH})", match["tables"], re.IGNORECASE)
    several = verb in {"truncate", "ddl"}
    return [_write(verb, path) for path in (paths if several else paths[:1])]


def _write(verb: str, path: str) -> TextWrite:
    parts = [_unquoted(part) for part in _PART.findall(path)]
    return TextWrite(verb, parts[-2] if len(parts) > 1 else None, parts[-1])


def _unquoted(name: str) -> str:
    if name[0] in '"`[':
        return name[1:-1].replace('""', '"')
    return name.lower()
