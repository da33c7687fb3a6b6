"""The jars of a Kafka broker, fetched once from Maven Central and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from auditspan_service.collector import CollectorPaths

_SUMS = Path(__file__).with_name("jars.sha256")
_POM = Path(__file__).with_name("pom.xml")
_FETCH_SECONDS = 900


def kafka_jars() -> Path:
    """The directory of the jars, each of them checked against its hash when it was fetched."""
    name = f"kafka-{hashlib.sha256(_SUMS.read_bytes()).hexdigest()[:12]}"
    target = CollectorPaths.from_environ(os.environ).cache / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as directory:
            fetched = Path(directory, "jars")
            _fetch(fetched)
            fetched.replace(target)
    return target


def _fetch(directory: Path) -> None:
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={directory}"]
    subprocess.run(
        [program("mvn"), "--quiet", "--batch-mode", "--file", _POM, *goal],
        timeout=_FETCH_SECONDS,
        check=True,
    )
    expected = dict(line.split()[::-1] for line in _SUMS.read_text("ascii").splitlines())
    found = {
        jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in directory.glob("*.jar")
    }
    assert expected == found


def program(name: str) -> str:
    """A program of this machine."""
    found = shutil.which(name)
    assert found, f"{name} is needed for these tests (Maven, and Java 17 or newer)"
    return found
