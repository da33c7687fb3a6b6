"""Take the pictures of docs/images: `make screenshots`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from backends.browser import take_picture
from backends.known import victorialogs, victorialogs_page, zipkin, zipkin_page
from backends.log_storage import arrived
from backends.running import ROOT, service_with
from backends.seen import is_whole, made_by, renamed
from support.collector import collector_binary

IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """One change, on each backend's page of its trace."""
    IMAGES.mkdir(exist_ok=True)
    for take in (zipkin_trace, victorialogs_change):
        with tempfile.TemporaryDirectory(prefix="auditspan-screenshots-") as name:
            file = take(Path(name))
            sys.stdout.write(f"{file.relative_to(ROOT)}\n")


def zipkin_trace(directory: Path) -> Path:
    """The trace of a change in Zipkin."""
    file = IMAGES / "zipkin-trace.png"
    for watched in service_with(zipkin(), directory, collector_binary()):
        change = made_by(watched, "kim")
        watched.find(
            f"/api/v2/trace/{change.trace_id}",
            lambda spans: is_whole({span["name"] for span in spans}),
        )
        take_picture(zipkin_page(watched.backend, change.trace_id), file)
    return file


def victorialogs_change(directory: Path) -> Path:
    """The record of a change in VictoriaLogs."""
    file = IMAGES / "victorialogs-change.png"
    for watched in service_with(victorialogs(directory / "logs"), directory, collector_binary()):
        made_by(watched, "kim")
        change = renamed(watched, "kim", "Kim Park")
        arrived(watched.backend, change)
        take_picture(victorialogs_page(watched.backend, change.trace_id), file)
    return file


if __name__ == "__main__":
    main()
