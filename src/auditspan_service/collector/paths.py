"""The paths for finding and building the collector's binary."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class CollectorPaths:
    """Paths that the environment names."""

    #: `OTELCOL_BIN`: the only binary to use, if set.
    binary: Path | None
    #: `PATH`.
    search_path: str
    #: The directory of auditspan in the user's cache; it may not exist.
    cache: Path
    #: The environment of `go`, `uv` and `pip`: proxies, certificates, package indexes. May contain
    #: secrets.
    environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> CollectorPaths:
        """Read the relevant variables from a copy of `environ`."""
        named = environ.get("OTELCOL_BIN")
        return cls(
            binary=Path(named) if named else None,
            search_path=environ.get("PATH", ""),
            cache=_cache_home(environ) / "auditspan",
            environ=dict(environ),
        )


def _cache_home(environ: Mapping[str, str]) -> Path:
    """Return `XDG_CACHE_HOME` or `~/.cache`; as the XDG specification requires, never relative."""
    named = Path(environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():
        return named
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".cache"
