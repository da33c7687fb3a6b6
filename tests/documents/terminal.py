"""Bash, in which the commands of a page run as they are typed.

All commands run in one shell, so `cd`, `export` and background jobs last. A command that serves
runs in the background until another one with the same program starts, or the page ends.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from documents.page import Command
from support.patience import PATIENCE

SERVERS = (
    re.compile(r"\bflask (?:--app \S+ )?run\b"),
    re.compile(r"\b(?:auditspan|flask audit)(?: --\S+ \S+)* (?:worker|up)\b"),
    re.compile(r"\botelcol\b.* --config\b|\$\(make .*collector\) --config\b"),
)
"""Commands that run until they are stopped."""

_WAITING = re.compile(r"(?:auditspan|flask audit) (?:reconcile$|verify --state --witness)")
"""Commands that a reader repeats until the worker has delivered the newest rows."""

_ATTEMPTS = 40
_MARK = "\x1e"
_PRELUDE = f"""
declare -A servers
trap 'kill "${{servers[@]}}" 2>/dev/null; wait' EXIT
serve() {{ # NAME READY COMMAND
  if [ -n "${{servers[$1]:-}}" ]; then kill "${{servers[$1]}}"; wait "${{servers[$1]}}"; fi
  bash -c "$3" > "$LOGS/$1.log" 2>&1 &
  servers[$1]=$!
  for _ in $(seq {PATIENCE * 5:.0f}); do
    if eval "$2"; then return 0; fi
    kill -0 "${{servers[$1]}}" || break
    sleep 0.2
  done
  cat "$LOGS/$1.log"; return 1
}}
patiently() {{ # COMMAND: as often as a reader who waits for the worker would
  for _ in $(seq {_ATTEMPTS}); do
    said=$(eval "$1" 2>&1); code=$?
    if [ $code = 0 ]; then break; fi
    sleep 1
  done
  printf '%s\\n' "$said"; return $code
}}
"""


class Done(NamedTuple):
    """A command that ended."""

    command: Command
    code: int
    output: str


class Terminal:
    """A shell in a directory, with the project's programs on PATH.

    Args:
        directory: where it starts.
        environ: variables in addition to those of the tests' own environment.
        replace: texts of the page that differ here, such as addresses and paths.
    """

    def __init__(
        self, directory: Path, environ: Mapping[str, str], replace: Mapping[str, str]
    ) -> None:
        self.directory = directory
        self._environ = environ
        self._replace = replace
        self.logs = directory / ".logs"
        self.logs.mkdir()

    def run(self, commands: Sequence[Command]) -> list[Done]:
        """Run the commands in order, each whether or not the one before it succeeded."""
        script = self.logs / "script.sh"
        parts = [self._part(one.text) for one in commands]
        script.write_text(_PRELUDE + "\n".join(parts), encoding="utf-8")
        process = subprocess.Popen(
            ["/bin/bash", script],
            cwd=self.directory,
            env={**self._environ, "LOGS": str(self.logs)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=PATIENCE * 5)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        outputs = re.split(rf"\n{_MARK}(\d+)\n", said)
        return [
            Done(command, int(code), output)
            for command, output, code in zip(commands, outputs[0::2], outputs[1::2], strict=False)
        ]

    def _part(self, text: str) -> str:
        server = next((n for n, one in enumerate(SERVERS) if one.search(text)), None)
        for old, new in self._replace.items():
            text = text.replace(old, new)
        if server is not None:
            text = f"serve {server} {_ready(text)} {shlex.quote(text)}"
        elif _WAITING.search(text):
            text = f"patiently {shlex.quote(text)}"
        return f'{text}\nprintf "\\n{_MARK}%s\\n" "$?"'


def _ready(text: str) -> str:
    """Return the condition, in bash, under which a server answers."""
    if "--config" in text:
        port = "${OTELCOL_HEALTH_PORT:-13133}"
        return shlex.quote(f"curl --silent --fail --output /dev/null localhost:{port}")
    if "worker" in text:
        return "'grep -q running \"$LOGS/$1.log\"'"
    return '\'grep -q "Running on" "$LOGS/$1.log"\''
