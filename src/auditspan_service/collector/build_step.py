"""One long step of a build: a command that is watched, reported on, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from auditspan_service.collector.errors import StepFailedError
from auditspan_service.collector.tail import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_TICK_SECONDS = 3.0
_LINES_OF_A_FAILURE = 15


def run_step(  # noqa: PLR0913  a process has that many sides, and all are named
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    environ: Mapping[str, str],
    progress: Callable[[str], None],
    describe: Callable[[str], str],
) -> None:
    """Run `command` to its end, with its output in `log` and a line of progress every few seconds.

    `describe` makes a phrase of what the command has written so far. Whatever interrupts the wait
    (Ctrl-C above all) ends the command and its children before it goes on its way.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  go, uv and python by absolute path, our own arguments
            command,
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its own group, so that its children can be ended with it
        )
    try:
        code = _wait(process, lambda: progress(describe(log.read_text(errors="replace"))))
    except BaseException:
        _end(process)
        raise
    if code != 0:
        last = tail(log, lines=_LINES_OF_A_FAILURE)
        raise StepFailedError(f"`{' '.join(command)}` failed with code {code}:\n{last}")


def _wait(process: subprocess.Popen[bytes], report: Callable[[], None]) -> int:
    while True:
        try:
            return process.wait(timeout=_TICK_SECONDS)
        except subprocess.TimeoutExpired:
            report()


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
