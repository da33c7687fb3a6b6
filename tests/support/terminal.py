"""Programs that write to a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from support.running import clean_environment


def on_terminal(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    columns: int = 80,
    cwd: Path | None = None,
) -> str:
    """Return the output of a program on a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    variables = {**clean_environment(), "TERM": "xterm", **environ}
    variables.pop("COLUMNS", None)  # would be believed before the terminal
    printed = b""
    with subprocess.Popen(command, stdout=theirs, env=variables, cwd=cwd) as process:
        os.close(theirs)
        with suppress(OSError):  # how a terminal tells that its other end was closed
            while part := os.read(ours, 4096):
                printed += part
    os.close(ours)
    assert 0 == process.returncode
    return printed.decode()
