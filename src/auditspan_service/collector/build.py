"""Building the collector from Go modules, once, into the user's cache.

1. Take the lock, so that two builds do not do the work twice.
2. Find a `go` on PATH, or install one privately.
3. Copy the sources: they may be read-only, as in an installed wheel.
4. Compile. `go.sum` fixes every module to the byte, and `-mod=readonly` keeps it so.
5. Ask the binary for its version.
6. Rename it into the cache. Until here nothing has looked like a finished build.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from auditspan_service.collector import lock
from auditspan_service.collector.binary import build_path, find_build, read_version
from auditspan_service.collector.build_step import run_step
from auditspan_service.collector.errors import CollectorError, CollectorUnavailableError
from auditspan_service.collector.go_toolchain import MINIMUM, Go, find_go, install_go
from auditspan_service.collector.sources import Sources, read_sources, source_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditspan_service.collector.paths import CollectorPaths

_LOCK_SECONDS = 1800
_LOCK_POLL_SECONDS = 3
_DOWNLOADING = "go: downloading "


def build(paths: CollectorPaths, progress: Callable[[str], None]) -> Path:
    """Build the collector and return its path; a build that is in the cache is returned at once.

    Takes about two minutes on two cores; `progress` gets a line every few seconds. Interrupted at
    any point it leaves nothing running and nothing that looks finished. When neither Go nor the
    modules can be had it raises CollectorUnavailableError, which says what to do.
    """
    report = _with_seconds(progress)
    try:
        return find_build(paths) or _build_alone(paths, report)
    except (CollectorError, OSError) as error:
        raise CollectorUnavailableError(_advice(error)) from error


def _build_alone(paths: CollectorPaths, report: Callable[[str], None]) -> Path:
    def waiting() -> None:
        report("waiting for another build of the collector to end")

    # 1.
    with lock.held(
        paths.cache / "build.lock",
        seconds=_LOCK_SECONDS,
        poll=_LOCK_POLL_SECONDS,
        waiting=waiting,
    ):
        # Asked again under the lock: the other build may have made it.
        return find_build(paths) or _build(paths, report)


def _build(paths: CollectorPaths, report: Callable[[str], None]) -> Path:
    private = paths.cache / "go"
    # 2.
    go = find_go(paths) or install_go(paths, private, report)
    binary = _compile_into_cache(paths, go, report)
    shutil.rmtree(private, ignore_errors=True)  # over a gigabyte, and the work is done
    report(f"built {binary}")
    return binary


def _compile_into_cache(paths: CollectorPaths, go: Go, report: Callable[[str], None]) -> Path:
    sources, target = read_sources(), build_path(paths)
    for stale in paths.cache.glob("build-*"):  # left by a kill -9; the lock says nobody is in there
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=paths.cache) as name:
        work = Path(name)
        # 3.
        for file in source_files(sources.directory):
            shutil.copyfile(file, work / file.name)
        # 4.
        binary = _compile(go, work, report)
        # 5.
        _check(binary, sources)
        # 6.
        target.parent.mkdir(exist_ok=True)
        return binary.replace(target)


def _compile(go: Go, work: Path, report: Callable[[str], None]) -> Path:
    output = work / "otelcol"
    report(f"building the collector with {go.command}; once, about two minutes on two cores")
    options = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-v"]
    run_step(
        [str(go.command), "build", *options, "-o", str(output), "."],
        log=work / "build.log",
        cwd=work,
        environ=go.environ,
        progress=report,
        describe=_describe,
    )
    return output


def _describe(written: str) -> str:
    """Say what `go build -v` is at: it names each module that it fetches, then each package."""
    lines = written.splitlines()
    modules = sum(line.startswith(_DOWNLOADING) for line in lines)
    packages = len(lines) - modules
    if packages == 0:
        return f"downloading modules, {modules} so far"
    return f"compiling, {packages} packages so far ({lines[-1].removeprefix(_DOWNLOADING)})"


def _check(binary: Path, sources: Sources) -> None:
    version = read_version(binary)
    if version != sources.version:
        raise CollectorUnavailableError(f"It calls itself {version}, not {sources.version}.")


def _advice(error: Exception) -> str:
    minimum = ".".join(map(str, MINIMUM))
    return (
        f"The collector could not be built.\n{error}\n"
        f"Either let `go` ({minimum} or newer; without one a Python package index) reach its "
        "modules and run `make collector` again, or set OTELCOL_BIN to a collector you have. "
        "Without a collector, AUDITSPAN_SINK=file writes the same files."
    )


def _with_seconds(progress: Callable[[str], None]) -> Callable[[str], None]:
    started = time.monotonic()
    return lambda text: progress(f"{time.monotonic() - started:5.0f} s  {text}")
