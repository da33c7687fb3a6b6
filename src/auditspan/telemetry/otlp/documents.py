"""Extraction of OTLP JSON documents from the lines of a file, which may be damaged.

A document is on one line, or spans several lines (pretty-printed). A line is first parsed whole;
shortcuts on raw text are used only where they are correct for every valid file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_json = json.JSONDecoder()

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY = re.compile(rb'"resource(?:Spans|Logs|Metrics|Profiles)"\s*+:')
OPENING = re.compile(
    rb"\{\s*+(?:" + _STRING + rb"\s*+:\s*+(?:" + _STRING + rb"|[\w.+-]++)\s*+,\s*+)*?"
    rb'"resource(?:Spans|Logs|Metrics|Profiles)"'
)
"""The start of an export, which matches nothing else: inside strings the quote is escaped
(`{\\"resource`), and objects in an export start with `{"resource":`. An export whose first members
are objects or lists does not match; it is still found unless it directly follows a torn one."""

ESCAPED = re.compile(rb"\\u00(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])")
"""A letter or digit written as an escape, which is never necessary."""

LINE_LIMIT = 64 * 1024 * 1024
"""The maximum line size in bytes. The collector accepts requests of up to 20 MiB; a longer line is
damaged, and read in pieces."""

_BRACKETS = re.compile(_STRING + rb'|[\[{]|[\]}]|"')
_OUTERMOST = re.compile(rb"(?m)^\{")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")

_TOPS = {"resourceSpans", "resourceLogs", "resourceMetrics", "resourceProfiles"}
_SPACE = " \t\r\n"
_BLANK = b" \t\r\n\x00\xef\xbb\xbf"
_HEAD = 1024

_BLOCK_LIMIT = 64 * 1024 * 1024
"""The maximum size of a pretty-printed document, in bytes; a longer one counts as damaged."""


class Line(NamedTuple):
    """Line, or the lines of a document, with their offset in the (unpacked) file."""

    file: Path
    offset: int
    content: bytes


@dataclass(kw_only=True)
class Documents:
    """Exports of one file, and the detected format of a file without any.

    Attributes:
        is_unwanted: returns whether a one-line document can be skipped without parsing.
    """

    is_unwanted: Callable[[bytes], bool]
    _block: list[Line] = field(default_factory=list)
    _depth: int = 0
    _size: int = 0
    _head: bytes = b""
    _is_otlp: bool = False
    _is_other_json: bool = False

    def read(self, lines: Iterable[Line]) -> Iterator[tuple[Line, object | None]]:
        """Yield every export with its line, in order, and None for each damaged piece."""
        for line, following in _with_next(lines):
            if len(self._head) < _HEAD:
                self._head = (self._head + line.content).lstrip(_BLANK)[:_HEAD]
            if not self._block and self._is_passed_over(line, following):
                self._is_otlp = True
            else:
                yield from self._take(line)
        yield from self._flush()

    def foreign_format(self) -> str | None:
        """Return the format of a file that is not OTLP JSON; None if it may be OTLP JSON."""
        if self._is_otlp or not self._head:
            return None
        if self._is_other_json:
            return "JSON but not OTLP"
        if self._head.startswith(b"{"):  # a torn document
            return None
        return "binary (protobuf, or compressed)" if _is_binary(self._head) else "plain text"

    def _is_passed_over(self, line: Line, following: Line | None) -> bool:
        """Check whether a document is unwanted and cannot continue on the next line."""
        is_alone = following is None or OPENING.match(following.content)
        return bool(is_alone) and self.is_unwanted(line.content)

    def _take(self, line: Line) -> Iterator[tuple[Line, object | None]]:
        whole = _whole_exports(line.content)
        if whole is not None and (any(whole) or not self._block):
            yield from self._flush()
            self._is_otlp = self._is_otlp or bool(whole)
            yield from ((line, export) for export in whole)
        elif self._block or line.content.lstrip(_BLANK).startswith((b"{", b"[")):
            yield from self._append(line)
        else:
            yield from self._cut(line)

    def _append(self, line: Line) -> Iterator[tuple[Line, object | None]]:
        """Add a line to the current document, and emit the document once it is complete.

        An undamaged document has only one opening, unless it is a list: a second opening means that
        the first document was torn.
        """
        if self._is_second(line):
            whole = _joined([*self._block, line])
            start = [opening.start() for opening in OPENING.finditer(whole.content)][-1:]
            if start and start[0]:
                yield from self._restarted(whole, start[0])
                return
        yield from self._grow(line)

    def _is_second(self, line: Line) -> bool:
        if not _KEY.search(line.content) or not self._block:
            return False
        is_list = self._block[0].content.lstrip(_BLANK).startswith(b"[")
        return not is_list and any(_KEY.search(before.content) for before in self._block)

    def _restarted(self, whole: Line, start: int) -> Iterator[tuple[Line, object | None]]:
        self._reset()
        yield from self._cut(Line(whole.file, whole.offset, whole.content[:start]))
        yield from self._grow(Line(whole.file, whole.offset + start, whole.content[start:]))

    def _grow(self, line: Line) -> Iterator[tuple[Line, object | None]]:
        self._block.append(line)
        opened = _open_brackets(line.content)
        self._depth += opened or 0
        self._size += len(line.content)
        if opened is None or self._depth <= 0 or self._size > _BLOCK_LIMIT:
            yield from self._flush()

    def _flush(self) -> Iterator[tuple[Line, object | None]]:
        if self._block:
            whole = _joined(self._block)
            self._reset()
            yield from self._cut(whole)

    def _reset(self) -> None:
        self._block, self._depth, self._size = [], 0, 0

    def _cut(self, line: Line) -> Iterator[tuple[Line, object | None]]:
        """Yield the exports in lines that may be damaged.

        The lines are first parsed whole. If that fails, they are split at every opening: an
        undamaged export has only one, and a torn export never parses together with the next one,
        since it leaves a bracket or a string open.
        """
        exports = _whole_exports(line.content)
        if exports is not None:
            self._is_otlp = self._is_otlp or bool(exports)
            yield from ((line, export) for export in exports)
            return
        openings = [opening.start() for opening in OPENING.finditer(line.content)]
        self._is_otlp = self._is_otlp or bool(openings)
        self._is_other_json = self._is_other_json or _is_json(line.content)
        for start, end in pairwise([0, *openings, len(line.content)]):
            exports, rest = _leading_exports(line.content[start:end])
            place = _place(line, start, end)
            yield from ((place, export) for export in exports)
            if rest:
                yield from [(place, None)] * max(1, len(_OUTERMOST.findall(rest.encode())))


def _place(line: Line, start: int, end: int) -> Line:
    """Return the full lines that contain this part of several lines."""
    begin = line.content.rfind(b"\n", 0, start) + 1
    stop = line.content.find(b"\n", max(end - 1, 0)) + 1 or len(line.content)
    return Line(line.file, line.offset + begin, line.content[begin:stop])


def _joined(lines: list[Line]) -> Line:
    return Line(lines[0].file, lines[0].offset, b"".join(line.content for line in lines))


def _with_next(lines: Iterable[Line]) -> Iterator[tuple[Line, Line | None]]:
    """Yield every line with its successor; None for the last line."""
    previous: Line | None = None
    for line in lines:
        if previous is not None:
            yield previous, line
        previous = line
    if previous is not None:
        yield previous, None


def _open_brackets(content: bytes) -> int | None:
    """Return the number of unclosed brackets; None if a string is left open."""
    depth = 0
    for token in _BRACKETS.finditer(content):
        if token.group() == b'"':
            return None
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token.group(), 0)
    return depth


def _whole_exports(content: bytes) -> list[object] | None:
    """Return the exports of a text that contains only exports; otherwise None."""
    exports, rest = _leading_exports(content)
    found = exports
    while rest and exports:
        exports, rest = _leading_exports(rest.encode())
        found = found + exports
    return None if rest else found


def _leading_exports(raw: bytes) -> tuple[list[object], str]:
    """Return the exports at the start of the bytes and the text after them; all text if none.

    Strings may contain invalid UTF-8, which the collector does not change: U+FFFD replaces it.
    """
    text = raw.decode("utf-8", "replace").removeprefix("\N{BOM}").strip(_SPACE)
    try:
        value, end = _json.raw_decode(text)
    except (ValueError, RecursionError):
        return [], text
    exports = value if isinstance(value, list) and value else [value]
    if not all(_is_export(export) for export in exports):
        return [], text
    return exports, text[end:].strip(_SPACE)


def _is_export(value: object) -> bool:
    return isinstance(value, dict) and (not value or bool(_TOPS & value.keys()))


def _is_json(content: bytes) -> bool:
    """Check whether the bytes begin with a complete JSON object or list."""
    try:
        value, _ = _json.raw_decode(content.decode("utf-8", "replace").strip(_SPACE))
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list)


def _is_binary(head: bytes) -> bool:
    return bool(_CONTROL.search(head)) or "\N{REPLACEMENT CHARACTER}" in head[:-4].decode(
        "utf-8", "replace"
    )
