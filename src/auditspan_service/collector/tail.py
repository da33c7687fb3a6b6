"""The last lines of a log, for progress and for error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BYTES = 16 * 1024


def size(log: Path) -> int:
    """Return the size in bytes, 0 for a log that does not exist yet."""
    return log.stat().st_size if log.exists() else 0


def tail(log: Path, *, lines: int, since: int = 0) -> str:
    """Return at most the last `lines` lines that were written after byte `since`."""
    with log.open("rb") as stream:
        stream.seek(max(since, size(log) - _BYTES))
        text = stream.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])
