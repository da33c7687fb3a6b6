"""Finding a collector binary that is there already."""

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
    """Find the binary: `OTELCOL_BIN`, then `otelcol` or `otelcol-contrib` on PATH, then our build.

    None when there is none. A binary that was named and is not there is an error: whoever named it
    meant it, and another one in its place would only be noticed much later.
    """
    if paths.binary is not None:
        return _named(paths.binary)
    for name in _NAMES:
        found = shutil.which(name, path=paths.search_path)
        if found:
            return Path(found)
    return find_build(paths)


def find_build(paths: CollectorPaths) -> Path | None:
    """Find what `build` made from the sources as they are now."""
    binary = build_path(paths)
    return binary if binary.is_file() else None


def build_path(paths: CollectorPaths) -> Path:
    """Return where `build` puts the binary made from the sources as they are now."""
    return paths.cache / read_sources().name / "otelcol"


def read_version(binary: Path) -> str:
    """Ask a binary for its version (`0.161.0`); CollectorStartError when it does not answer."""
    command = [str(binary), "--version"]
    try:
        answer = subprocess.run(  # noqa: S603  the binary is the one we were told to run
            command, capture_output=True, text=True, timeout=_VERSION_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CollectorStartError(
            f"`{binary} --version` failed ({error}); is it a collector for this machine?"
        ) from error
    return answer.stdout.split()[-1] if answer.stdout.split() else "unknown"


def _named(binary: Path) -> Path:
    if binary.is_file() and os.access(binary, os.X_OK):
        return binary.absolute()
    raise CollectorUnavailableError(
        f"OTELCOL_BIN names {binary}, which is not an executable file; correct it, or unset it to "
        "have a collector looked for on PATH and among our own builds."
    )
