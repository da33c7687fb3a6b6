"""The benchmark of capture runs, and captures every row that it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "capture.py"
SMALL = "--rounds 1 --only SQLite --only insert-commits --only auditspan --json"


def test_benchmark_captures_every_row() -> None:
    """One workload of one database; `make bench` runs all of them."""
    done = subprocess.run(
        [sys.executable, SCRIPT, *SMALL.split()], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    results = json.loads(done.stdout)["results"]
    captured = {one["subject"]: (one["rows_written"], one["rows_captured"]) for one in results}
    assert {"no audit": (500, 0), "floor": (500, 500), "auditspan": (500, 500)} == captured
