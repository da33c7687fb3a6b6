"""Take the pictures of docs/images: `make screenshots`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from backends.browser import take_picture
from backends.known import zipkin, zipkin_page
from backends.running import ROOT, service_with
from backends.seen import is_whole, made_by
from support.collector import collector_binary

IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """One change, on Zipkin's page of its trace."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="auditspan-screenshots-") as name:
        for watched in service_with(zipkin(), Path(name), collector_binary()):
            change = made_by(watched, "kim")
            watched.find(
                f"/api/v2/trace/{change.trace_id}",
                lambda spans: is_whole({span["name"] for span in spans}),
            )
            file = IMAGES / "zipkin-trace.png"
            take_picture(zipkin_page(watched.backend, change.trace_id), file)
            sys.stdout.write(f"{file.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
