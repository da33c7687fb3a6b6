"""`docker compose` on the repository's own compose.yaml, driven as an operator would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from support.ports import free_port

ROOT = Path(__file__).parents[2]
IMAGE = os.environ.get("AUDITSPAN_IMAGE", "auditspan:local")
DOCKER = shutil.which("docker") or "docker"
UP_SECONDS = 600
SETTLE_SECONDS = 240
"""How long delivery may take to catch up after whatever was killed is back."""

_PASSWORD = re.compile(r":([^:@/]+)@")


class Stack:
    """A project of its own: other ports, other volumes and other secrets than a person's."""

    def __init__(self, directory: Path, *overlays: Path, name: str = "auditspan-test") -> None:
        self.secrets = directory / "secrets"
        subprocess.run([ROOT / "deploy/make-secrets", self.secrets], check=True)
        self.name = f"{name}-{os.getpid()}"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.health_url = f"http://127.0.0.1:{free_port()}"
        files = [ROOT / "compose.yaml", *overlays, self._overlay(directory)]
        self._command = [DOCKER, "compose", "--project-name", self.name]
        self._command += [part for file in files for part in ("--file", str(file))]

    def up(self, *arguments: str) -> None:
        """The command of the how-to, on an image that is there; fails with the logs."""
        done = self.run("up", "--no-build", "--wait", *arguments, check=False, timeout=UP_SECONDS)
        if done.returncode:
            logs = self.run("logs", "--tail", "40", check=False).stdout
            raise AssertionError(f"docker compose up failed: {done.stderr}\n{logs}")

    def down(self, *arguments: str) -> None:
        """Remove the containers, and with `--volumes` what they kept."""
        self.run("down", "--timeout", "50", *arguments, timeout=UP_SECONDS)

    def run(
        self, *arguments: str, check: bool = True, timeout: float = 300, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """One `docker compose …`; a failure shows what it said."""
        done = subprocess.run(
            [*self._command, *arguments],
            env={**os.environ, **self._ports(), "AUDITSPAN_IMAGE": IMAGE},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            input=stdin,
        )
        if check:
            assert done.returncode == 0, f"{arguments}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done

    def execute(self, service: str, *command: str, check: bool = True) -> str:
        """What a program in a container says."""
        return self.run("exec", "--no-TTY", service, *command, check=check).stdout

    def python(self, service: str, program: str) -> str:
        """What a Python program in a container says; it is given on standard input."""
        return self.run("exec", "--no-TTY", service, "python", "-", stdin=program).stdout

    def report(self, service: str, *command: str) -> dict[str, Any]:
        """The one object of `auditspan … --json`, whatever its exit code."""
        done = self.run("exec", "--no-TTY", service, "auditspan", *command, "--json", check=False)
        assert done.stdout.startswith("{"), f"{command}: {done.stdout}{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def new_key(self, username: str) -> str:
        """The text of a new API key with every right."""
        made = self.report("service", "keys", "create", "--username", username, "--scope", "admin")
        return str(made["key"])

    def settled(self) -> dict[str, Any]:
        """What `reconcile` says once every row has arrived, or when it is late."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            said = self.report("service", "reconcile")
            if said["ok"] or time.monotonic() > deadline:
                return said
            time.sleep(1)

    def containers(self, service: str) -> list[str]:
        """The ids of the containers of a service, also of those that have ended."""
        return self.run("ps", "--all", "--quiet", service).stdout.split()

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of the container of a service."""
        said = docker("inspect", *self.containers(service))
        found: dict[str, Any] = json.loads(said)[0]
        return found

    def secret_texts(self) -> set[str]:
        """Every password and key of the stack, without what stands around it in its file."""
        texts = {
            word if (found := _PASSWORD.search(word)) is None else found[1]
            for path in self.secrets.glob("[!.]*")
            for word in path.read_text(encoding="ascii").split()[-1:]
        }
        signing_key = self.execute("worker", "cat", "/var/lib/auditspan/keys/signing.key")
        return {*texts, signing_key.split()[-1]}

    def _ports(self) -> dict[str, str]:
        return {
            "AUDITSPAN_PORT": self.url.rpartition(":")[2],
            "OTELCOL_HEALTH_PORT": self.health_url.rpartition(":")[2],
        }

    def _overlay(self, directory: Path) -> Path:
        """The one difference: other secret files than those of the person at this machine."""
        secrets = {p.name: {"file": str(p)} for p in self.secrets.iterdir() if p.name[0] != "."}
        file = directory / "secrets.yaml"
        file.write_text(yaml.safe_dump({"secrets": secrets}), encoding="utf-8")
        return file


def docker(*arguments: str) -> str:
    """One `docker …` and what it says."""
    return subprocess.run(
        [DOCKER, *arguments], capture_output=True, text=True, timeout=300, check=True
    ).stdout
