"""The collector's sources and configuration, in the repository or in the installed wheel."""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from auditspan_service.collector.errors import CollectorUnavailableError

_PACKAGE = Path(__file__).resolve().parents[1]
_REPOSITORY = _PACKAGE.parents[1]
_VERSION = re.compile(r'^\s*Version:\s*"([^"]+)"', re.MULTILINE)
_DIGEST_CHARACTERS = 12


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Sources of a collector. The same `name` means the same binary."""

    directory: Path
    #: The collector's version, as `otelcol --version` prints it.
    version: str
    #: The SHA-256 of the compiler's input files and of the platform.
    digest: str

    @property
    def name(self) -> str:
        """The name of this build's directory in the cache."""
        return f"otelcol-{self.version}-{self.digest[:_DIGEST_CHARACTERS]}"


def read_sources() -> Sources:
    """Read version and digest of the sources in this package."""
    directory = _bundled("collector", "deploy/collector")
    found = _VERSION.search((directory / "main.go").read_text(encoding="utf-8"))
    if found is None:
        raise CollectorUnavailableError(
            f"{directory / 'main.go'} contains no version: restore the directory from the "
            "repository."
        )
    return Sources(directory=directory, version=found.group(1), digest=_digest(directory))


def source_files(directory: Path) -> list[Path]:
    """List the compiler's input files; other files (manifest, README) do not affect the binary."""
    return sorted([*directory.glob("*.go"), directory / "go.mod", directory / "go.sum"])


def config_file() -> Path:
    """Return the path of `otel-collector.yaml`, the only collector configuration."""
    return _bundled("otel-collector.yaml", "otel-collector.yaml")


def _bundled(in_wheel: str, in_repository: str) -> Path:
    wheel, repository = _PACKAGE / "bundled" / in_wheel, _REPOSITORY / in_repository
    for candidate in (wheel, repository):
        if candidate.exists():
            return candidate
    raise CollectorUnavailableError(
        f"Neither {wheel} nor {repository} exists: install auditspan again, from its wheel or a "
        "complete clone of its repository."
    )


def _digest(directory: Path) -> str:
    # Includes the platform, because different machines may share a home directory.
    digest = hashlib.sha256(f"{platform.system()}/{platform.machine()}".encode())
    for file in source_files(directory):
        content = file.read_bytes()
        digest.update(f"\n{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
