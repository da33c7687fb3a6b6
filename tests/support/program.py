"""A program as a process group of its own, which may be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_STOP_SECONDS = 120


class Program:
    """A command that runs, or ran; it goes on under the same command, environment and log.

    Attributes:
        log: where its output is appended, from all of its lives.
    """

    def __init__(
        self,
        command: list[str | Path],
        *,
        environ: Mapping[str, str],
        log: Path,
        directory: Path | None = None,
    ) -> None:
        self.log = log
        self._directory = directory
        self._command = command
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The leader of the group."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Return whether the leader of the process group runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; nothing of it may be running."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=dict(self._environ),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it and its children at once, as a crash of the machine would."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def stop(self) -> int:
        """End it in order; its exit code."""
        assert self._process is not None
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        finally:
            self.kill()  # whatever is left of the group

    def children(self) -> list[int]:
        """The processes that its leader has started."""
        place = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        try:
            return [int(one) for one in place.read_text().split()]
        except OSError:
            return []
