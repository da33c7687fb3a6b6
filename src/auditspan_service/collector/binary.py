"""Search for an existing collector binary."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from auditspan_service.collector.errors import CollectorStartError, CollectorUnavailableError
from auditspan_service.collector.sources import read_sources

if TYPE_CHECKING:
    from auditspan_service.collector.paths import CollectorPaths

_NAMES = ("otelcol", "otelcol-contrib")
_VERSION_SECONDS = 20


def find_binary(paths: CollectorPaths) -> Path | None:
    """Find the binary: `OTELCOL_BIN`, then `otelcol` or `otelcol-contrib` on PATH, then a build.

    Returns None if there is none. An `OTELCOL_BIN` that does not exist is an error: silently using
    another binary instead would be noticed only much later.
    """
    if paths.binary is not None:
        return _named(paths.binary)
    for name in _NAMES:
        found = shutil.which(name, path=paths.search_path)
        if found:
            return Path(found)
    return find_build(paths)


def find_build(paths: CollectorPaths) -> Path | None:
    """Find the result of `build` for the current sources."""
    binary = build_path(paths)
    return binary if binary.is_file() else None


def build_path(paths: CollectorPaths) -> Path:
    """Return the path of the binary that `build` makes from the current sources."""
    return paths.cache / read_sources().name / "otelcol"


def read_version(binary: Path) -> str:
    """Return the version of a binary (`0.161.0`); raise CollectorStartError if it fails."""
    command = [str(binary), "--version"]
    try:
        answer = subprocess.run(  # noqa: S603  the binary that was configured
            command, capture_output=True, text=True, timeout=_VERSION_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CollectorStartError(
            f"`{binary} --version` failed ({error}): check that it is a collector for this machine."
        ) from error
    return answer.stdout.split()[-1] if answer.stdout.split() else "unknown"


def _named(binary: Path) -> Path:
    if binary.is_file() and os.access(binary, os.X_OK):
        return binary.absolute()
    raise CollectorUnavailableError(
        f"OTELCOL_BIN is invalid: {binary} is not an executable file. Correct it, or unset it to "
        "search for a collector on PATH and among existing builds."
    )
