"""The backends, which no one here wrote: two from Go modules, Zipkin from Maven Central.

Each is made once and kept in the user's cache, beside the collector. `go.sum` fixes every module of
Jaeger and VictoriaLogs to the byte, and Zipkin's jar is checked against its hash.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from auditspan_service.collector import CollectorPaths
from auditspan_service.collector.go_toolchain import find_go, install_go

JAEGER = "github.com/jaegertracing/jaeger/cmd/all-in-one"
VICTORIALOGS = "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"
ZIPKIN = "io.zipkin:zipkin-server:3.5.1:jar:exec"
ZIPKIN_SHA256 = "7ac633a6832647e71e50012a5e3e91fbc7054414955261724526030faf271d8d"
BUILD_SECONDS = 1800


def jaeger_binary() -> Path:
    """Jaeger's all-in-one, built where there is none yet (some minutes)."""
    return _built("jaeger", JAEGER)


def victorialogs_binary() -> Path:
    """VictoriaLogs, built where there is none yet (some minutes)."""
    return _built("victorialogs", VICTORIALOGS)


def _built(name: str, package: str) -> Path:
    """A program of Go modules that the folder of this name fixes."""
    paths = CollectorPaths.from_environ(os.environ)
    sources = Path(__file__).with_name(name)
    sums = (sources / "go.sum").read_bytes()
    target = paths.cache / f"{name}-{hashlib.sha256(sums).hexdigest()[:12]}"
    if not target.exists():
        paths.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=paths.cache) as directory:
            go = find_go(paths) or install_go(paths, Path(directory, "go"), print)
            built = Path(directory, name)
            options = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"]
            subprocess.run(
                [go.command, "build", *options, "-o", built, package],
                cwd=sources,
                env={**go.environ, "CGO_ENABLED": "0"},
                timeout=BUILD_SECONDS,
                check=True,
            )
            built.replace(target)
    return target


def zipkin_jar() -> Path:
    """Zipkin's executable jar, fetched by Maven where there is none yet."""
    target = CollectorPaths.from_environ(os.environ).cache / f"zipkin-{ZIPKIN_SHA256[:12]}.jar"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as name:
            goal = ["dependency:copy", f"-Dartifact={ZIPKIN}", f"-DoutputDirectory={name}"]
            subprocess.run(
                [program("mvn"), "--quiet", "--batch-mode", *goal],
                cwd=name,
                timeout=BUILD_SECONDS,
                check=True,
            )
            [jar] = Path(name).glob("*.jar")
            assert hashlib.sha256(jar.read_bytes()).hexdigest() == ZIPKIN_SHA256
            jar.replace(target)
    return target


def program(name: str) -> str:
    """A program of this machine."""
    found = shutil.which(name)
    assert found, f"{name} is needed for these tests (Zipkin needs Maven and Java 17 or newer)"
    return found
