"""SQL as text: which audited tables a statement that nobody has compiled writes to.

A net against mistakes: it reads the statement, and not what functions, triggers or SQL that is put
together in the database do when it runs. So comments, strings and quoted names are read as the
database reads them, and what stands in a string is not a write, unless it is the body of a DO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

_LITERAL = r"'(?:[^']|'')*'"
_NAME = r'"(?:[^"]|"")+"'
_COMMON = rf"(?P<word>[^\W\d][\w$]*)|(?P<name>{_NAME})|(?P<other>\S)"
_DIALECTS = {
    "sqlite": re.compile(
        rf"--[^\n]*|/\*.*?(?:\*/|\Z)|(?P<literal>{_LITERAL})|(?P<odd>`[^`]+`|\[[^\]]+\])|{_COMMON}",
        re.DOTALL,
    ),
    "postgresql": re.compile(
        rf"""--[^\n\r]*|(?P<comment>/\*)|\$(?P<tag>(?:[^\W\d]\w*)?)\$(?P<body>.*?)\$(?P=tag)\$
        |(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')|(?P<literal>(?:[uU]&)?{_LITERAL})
        |(?P<odd>[uU]&{_NAME})|{_COMMON}""",
        re.DOTALL | re.VERBOSE,
    ),
}
_COMMENT_MARK = re.compile(r"/\*|\*/")
_VERBS = {"insert", "replace", "merge", "update", "delete", "truncate", "alter", "drop", "copy"}
_MAYBE = re.compile("|".join(sorted(_VERBS)), re.IGNORECASE)
_OPTIONAL = {"table", "if", "exists", "only", "("}


@dataclass(frozen=True)
class TextWrite:
    """One write that a text of SQL holds."""

    verb: str
    schema: str | None
    table: str


@dataclass(frozen=True)
class _Token:
    """A word, a name, a string or a sign; a word is in small letters."""

    kind: str
    text: str

    @property
    def is_name(self) -> bool:
        return self.kind in {"word", "name"}


@lru_cache(maxsize=1024)
def text_writes(sql: str, dialect: str) -> tuple[TextWrite, ...]:
    """The writes in a text of SQL, of one statement or several; one that stands twice, twice.

    >>> text_writes("UPDATE public.person SET name = 'DELETE FROM x' -- insert", "postgresql")
    (TextWrite(verb='update', schema='public', table='person'),)
    >>> text_writes("SELECT * FROM person FOR UPDATE", "postgresql")
    ()
    """
    if not _MAYBE.search(sql):
        return ()
    found: list[TextWrite] = []
    for statement in _statements(_tokens(sql, dialect)):
        if _only_explains(statement, dialect):
            continue
        words = _Words(statement, dialect)
        for position, token in enumerate(statement):
            if token.text in _VERBS:
                found += words.writes(position)
        if words.is_at(0, "do"):
            bodies = [token.text for token in statement if token.kind == "string"]
            found += [write for body in bodies for write in text_writes(body, dialect)]
    return tuple(found)


@dataclass(frozen=True)
class _Words:
    """One statement, read at any of its words."""

    tokens: Sequence[_Token]
    dialect: str

    def is_at(self, position: int, *words: str) -> bool:
        """Whether these words, none of them quoted, stand there."""
        there = self.tokens[position : position + len(words)]
        return [(token.kind, token.text) for token in there] == [("word", word) for word in words]

    def writes(self, position: int) -> list[TextWrite]:
        """The writes that begin there."""
        after = self._past_or(position + 1)
        replaces = self.is_at(position + 1, "or", "replace")  # deletes what is in the way
        if self.is_at(position, "update"):
            return self._named("replace" if replaces else "update", after)[:1]
        if self.is_at(position, "insert") and self.is_at(after, "into"):
            return [] if replaces else self._named("insert", after + 1)[:1]  # REPLACE INTO follows
        for verb, words in _PHRASES:
            if self.is_at(position, *words):
                several = verb in {"truncate", "ddl"}
                return self._named(verb, position + len(words))[: None if several else 1]
        if self.is_at(position, "copy") and self._copies_in(position + 1):
            return self._named("copy", position + 1)[:1]
        return []

    def _past_or(self, position: int) -> int:
        """Behind SQLite's OR IGNORE and the like."""
        return position + 2 if self.is_at(position, "or") else position

    def _copies_in(self, position: int) -> bool:
        """Whether COPY is into the table that is named there, and not out of it."""
        if self._text(position) == "(":
            return False
        rest = [token.text for token in self.tokens[position:] if token.kind == "word"]
        return "from" in rest and "to" not in rest[: rest.index("from")]

    def _named(self, verb: str, position: int) -> list[TextWrite]:
        """The tables that are named from there on, with commas between them."""
        found: list[TextWrite] = []
        while True:
            while self._text(position) in _OPTIONAL and not self._is_path(position):
                position += 1
            path, position = self._path(position)
            if not path:
                return found
            found.append(TextWrite(verb, path[-2] if len(path) > 1 else None, path[-1]))
            while self._text(position) in {"*", ")"}:
                position += 1
            if self._text(position) != ",":
                return found
            position += 1

    def _is_path(self, position: int) -> bool:
        """Whether a name stands there that only looks like a word of the grammar."""
        return position < len(self.tokens) and self.tokens[position].kind == "name"

    def _path(self, position: int) -> tuple[list[str], int]:
        """A name with its schema, and where it ends."""
        path: list[str] = []
        while position < len(self.tokens) and self._names(self.tokens[position]):
            path.append(self.tokens[position].text)
            position += 1
            if self._text(position) != ".":
                break
            position += 1
        return path, position

    def _names(self, token: _Token) -> bool:
        """Whether it is a name; for SQLite a string is one where a name has to stand."""
        return token.is_name or (token.kind == "string" and self.dialect == "sqlite")

    def _text(self, position: int) -> str | None:
        return self.tokens[position].text if position < len(self.tokens) else None


_PHRASES = (
    ("replace", ("replace", "into")),
    ("merge", ("merge", "into")),
    ("delete", ("delete", "from")),
    ("truncate", ("truncate",)),
    ("ddl", ("alter", "table")),
    ("ddl", ("drop", "table")),
)


def _statements(tokens: Iterable[_Token]) -> Iterator[list[_Token]]:
    """The statements between semicolons."""
    statement: list[_Token] = []
    for token in tokens:
        if token == _Token("other", ";"):
            yield statement
            statement = []
        else:
            statement.append(token)
    yield statement


def _only_explains(statement: Sequence[_Token], dialect: str) -> bool:
    """Whether a statement is explained and not run; PostgreSQL runs it for ANALYZE."""
    texts = [token.text for token in statement]
    if texts[:1] != ["explain"]:
        return False
    if dialect == "sqlite":
        return True
    is_list = texts[1:2] == ["("] and ")" in texts
    options = texts[1 : texts.index(")")] if is_list else texts[1:2]
    return not {"analyze", "analyse"} & set(options)


def _tokens(sql: str, dialect: str) -> Iterator[_Token]:
    """The tokens without comments; a string without its quotes."""
    pattern = _DIALECTS.get(dialect, _DIALECTS["postgresql"])
    position = 0
    while match := pattern.search(sql, position):
        position = _comment_end(sql, match.end()) if match.lastgroup == "comment" else match.end()
        token = _token(match, sql[match.end() :])
        if token is not None:
            yield token


def _token(match: re.Match[str], rest: str) -> _Token | None:
    """What has been found, or None for a comment."""
    group, found = match.lastgroup, match[0]
    match group:
        case None | "comment":
            return None
        case "word":
            token = _Token("word", found.lower())
        case "name":
            token = _Token("name", found[1:-1].replace('""', '"'))
        case "odd":
            token = _Token("name", _decoded(found, rest) if found[0] in "uU" else found[1:-1])
        case "body":
            token = _Token("string", match["body"])
        case "literal" | "escaped":
            token = _Token("string", found.partition("'")[2][:-1].replace("''", "'"))
        case _:
            token = _Token("other", found)
    return token


def _comment_end(sql: str, position: int) -> int:
    """Behind a comment of PostgreSQL, in which others may nest."""
    depth = 1
    while depth and (mark := _COMMENT_MARK.search(sql, position)):
        depth += 1 if mark[0] == "/*" else -1
        position = mark.end()
    return len(sql) if depth else position


def _decoded(name: str, rest: str) -> str:
    """A name that is written with code points, as in `U&"t!0065am" UESCAPE '!'`."""
    escape = re.match(r"\s*uescape\s*'(.)'", rest, re.IGNORECASE)
    mark = re.escape(escape[1] if escape else "\\")
    inner = name[3:-1].replace('""', '"')
    points = re.compile(rf"{mark}(?:\+([0-9a-f]{{6}})|([0-9a-f]{{4}}))", re.IGNORECASE)
    return points.sub(lambda found: chr(int(found[1] or found[2], 16)), inner)
