"""Where the collector's binary is looked for and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class CollectorPaths:
    """The places that the environment names."""

    #: `OTELCOL_BIN`: the one binary to use, nothing else is looked at.
    binary: Path | None
    #: `PATH`.
    search_path: str
    #: Our own directory among the user's caches; it need not exist.
    cache: Path
    #: What `go`, `uv` and `pip` inherit: proxies, certificates, package indexes. May hold secrets.
    environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> CollectorPaths:
        """Read the variables that matter from `environ`, which is copied."""
        named = environ.get("OTELCOL_BIN")
        return cls(
            binary=Path(named) if named else None,
            search_path=environ.get("PATH", ""),
            cache=_cache_home(environ) / "auditspan",
            environ=dict(environ),
        )


def _cache_home(environ: Mapping[str, str]) -> Path:
    """`XDG_CACHE_HOME`, or `~/.cache`. The XDG specification has a relative path ignored."""
    named = Path(environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():
        return named
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".cache"
