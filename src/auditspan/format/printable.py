r"""Text that is safe to print: control and format characters are escaped (`\x1b`, `\u202e`)."""

from __future__ import annotations

import json
import re

_SUSPECT = re.compile(r"[^ -~\xa1-\xac\xae-\u02ff]")
"""Characters outside printable ASCII and Latin, which are checked one by one."""


def printable(text: str) -> str:
    r"""Return `text` on one line, with only printable characters.

    Control characters (C0, DEL, C1), bidirectional and other format characters, spaces other than
    the ASCII one and lone surrogates are replaced with Python escapes.
    """
    return _SUSPECT.sub(_python_escape, text)


def printable_json(value: object, *, indent: int | None = None) -> str:
    """Return `value` as printable JSON: like `printable`, with JSON escapes."""
    lines = json.dumps(value, indent=indent, ensure_ascii=False).split("\n")
    return "\n".join(_SUSPECT.sub(_json_escape, line) for line in lines)


def _python_escape(match: re.Match[str]) -> str:
    char = match.group()
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def _json_escape(match: re.Match[str]) -> str:
    char = match.group()
    return char if char.isprintable() else json.dumps(char)[1:-1].replace("\x7f", "\\u007f")
