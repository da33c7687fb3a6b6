r"""Text that is safe to print: what moves the cursor or the eye is shown as `\x1b` or `\u202e`."""

from __future__ import annotations

import json
import re
from typing import Any

_SUSPECT = re.compile(r"[^ -~\xa1-\xac\xae-\u02ff]")
"""Everything outside of the printable ASCII and Latin characters, to be looked at one by one."""


def printable(text: str) -> str:
    r"""Return `text` on one line, every character of which can be printed.

    Control characters (C0, DEL, C1), bidirectional and other format characters, spaces other than
    the ASCII one and lone surrogates are replaced by escapes, as in Python.
    """
    return _SUSPECT.sub(_python_escape, text)


def printable_json(value: Any, *, indent: int | None = None) -> str:  # noqa: ANN401 (any JSON)
    """Return `value` as JSON that can be printed: as `printable`, with the escapes of JSON."""
    lines = json.dumps(value, indent=indent, ensure_ascii=False).split("\n")
    return "\n".join(_SUSPECT.sub(_json_escape, line) for line in lines)


def _python_escape(match: re.Match[str]) -> str:
    char = match.group()
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def _json_escape(match: re.Match[str]) -> str:
    char = match.group()
    return char if char.isprintable() else json.dumps(char)[1:-1].replace("\x7f", "\\u007f")
