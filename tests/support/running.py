"""`auditspan up` as a process of its own, driven over HTTP like any client would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from support.patience import PATIENCE

AUDITSPAN = Path(sys.executable).with_name("auditspan")
_SECONDS = 300
"""For a command, or for one that is told to end."""


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """The line that `auditspan up --json` prints."""

    url: str
    key: str | None
    database_url: str
    audit_files: Path
    telemetry_files: Path
    collector: dict[str, Any] | None


class Up:
    """A running `auditspan up`; `key` is that of the first start on the directory."""

    def __init__(self, data: Path, *, environ: Mapping[str, str], key: str | None = None) -> None:
        with (data.parent / f"{data.name}.err").open("ab") as errors:
            self._process = subprocess.Popen(
                [AUDITSPAN, "up", "--json", "--host", "127.0.0.1", "--port", "0", "--data", data],
                env={**clean_environment(), **environ},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.said = self._announcement()
        self.key = self.said.key or key or ""
        self.client = httpx.Client(
            base_url=self.said.url,
            headers={"Authorization": f"Bearer {self.key}"},
            trust_env=False,
            timeout=PATIENCE,
        )

    def kill(self) -> None:
        """End it as a crash would; clients may still be asking."""
        self._process.kill()
        self._process.wait()

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it in order; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(_SECONDS)
        self._end()
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _announcement(self) -> Announcement:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"auditspan up ended with {self._process.wait()} before it was ready"
        said = json.loads(line)
        for name in ("audit_files", "telemetry_files"):
            said[name] = Path(said[name])
        return Announcement(**said)

    def _end(self) -> None:
        self.client.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def clean_environment() -> dict[str, str]:
    """The environment without anything that would configure auditspan, OpenTelemetry or make.

    But for one setting: the PostgreSQL of the tests is used by its superuser, and no process would
    start on it. Tests of the guards take it out again.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AUDITSPAN_", "OTEL_", "MAKE", "MFLAGS"))
    }
    return {**kept, "AUDITSPAN_ALLOW_UNGUARDED": "1"}


def auditspan(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [AUDITSPAN, *arguments],
        env={**clean_environment(), **environ},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
