"""Record commands in a terminal as SVG for docs/images: `make screenshots`."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

from support.running import AUDITSPAN, clean_environment

IMAGES = Path(__file__).parents[2] / "docs" / "images"
COLUMNS, LINES = 132, 60
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Fonts of another host, which no picture of ours asks for."""


def main() -> None:
    """Record the tour, and the trace of its update."""
    with tempfile.TemporaryDirectory(prefix="auditspan-recordings-") as name:
        said = typed("tour", "--no-stay", directory=Path(name))
        shown = said[said.index("request ") : said.index("Where to look next")]
        save("terminal-tour.svg", "make tour", shown)
        (trace_id,) = re.findall(r" trace ([0-9a-f]{32})", said)
        said = typed("--data", ".auditspan/tour", "trace", trace_id, directory=Path(name))
        save("terminal-trace.svg", f"auditspan trace {trace_id}", said)


def typed(*arguments: str, directory: Path) -> str:
    """Return the output of a command that runs in a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environ = clean_environment() | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    environ.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [AUDITSPAN, *arguments], cwd=directory, env=environ, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    while part := _part(ours):
        said += part
    os.close(ours)
    assert 0 == process.wait()
    return said.decode()


def save(name: str, title: str, said: str) -> None:
    """Write one picture of the terminal."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(said.replace("\r\n", "\n").strip()))
    svg = _FONT.sub("", console.export_svg(title=title, unique_id=Path(name).stem))
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / name).write_text(svg, encoding="utf-8")
    print(f"docs/images/{name}")  # noqa: T201 (a program)


def _part(descriptor: int) -> bytes:
    """Read what the terminal shows; at the end of the program, Linux reports an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


if __name__ == "__main__":
    main()
