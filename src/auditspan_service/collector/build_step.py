"""Long-running commands of a build, with progress reports and cleanup on interrupts."""

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


def run_step(
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    environ: Mapping[str, str],
    progress: Callable[[str], None],
    describe: Callable[[str], str],
) -> None:
    """Run `command` to completion, with its output in `log` and periodic progress lines.

    `describe` turns the output so far into a phrase. Any exception during the wait, such as
    Ctrl-C, stops the command and its children before it is raised.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  go, uv and python by absolute path, fixed arguments
            command,
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its own group, so that its children can be stopped, too
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
