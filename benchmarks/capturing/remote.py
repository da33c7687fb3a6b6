"""The benchmark's end of a subject's process."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent.parent


class Remote:
    """A subject in a process of its own, which waits while it is not asked."""

    def __init__(self, subject: str, url: str) -> None:
        self._subject = subject
        command = [sys.executable, "-W", "ignore", "-m", "capturing.worker", subject, url]
        self._process = subprocess.Popen(  # noqa: S603 (our own program)
            command, cwd=_HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **order: Any) -> dict[str, float]:
        """Have one order carried out.

        Raises:
            SystemExit: the subject has failed; what it said is on standard error.
        """
        assert self._process.stdin is not None  # noqa: S101 (both are pipes)
        assert self._process.stdout is not None  # noqa: S101
        with suppress(BrokenPipeError):  # it has ended, so there is no answer either
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._subject} has failed at {order}: see the error above")
        answer: dict[str, float] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let the process end, and wait for it."""
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
