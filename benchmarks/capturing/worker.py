"""One subject in a process of its own: reads orders as JSON lines, answers each with one.

`python -m capturing.worker SUBJECT URL`; `remote` is the other end.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from capturing.setup import Setup
from capturing.subjects import set_up
from capturing.workloads import BULK, WORKLOADS

_WARM_UP = 50
"""How many times fewer rows are written first, on the same connection."""


def main() -> None:
    """Answer orders until there are no more."""
    subject, url = sys.argv[1:]
    setup = set_up(subject, url)
    for line in sys.stdin:
        order = json.loads(line)
        setup.body_size = order.get("body_size", 0)
        answer = _memory(setup, order) if order["memory"] else _measure(setup, order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _measure(setup: Setup, order: dict[str, Any]) -> dict[str, float]:
    size, workload = order["size"], WORKLOADS[order["workload"]]
    setup.reconnect()
    workload.measure(setup, max(size // _WARM_UP, 1))
    answer = workload.measure(setup, size)
    if order.get("wants_body"):
        answer["body_size"] = setup.mean_body(size)
    return answer


def _memory(setup: Setup, order: dict[str, Any]) -> dict[str, float]:
    """The peaks of this process before and after the bulk update, in bytes."""
    workload = WORKLOADS[BULK]
    workload.measure(setup, 10)  # what is imported and compiled once is not the update's
    before = _peak()
    workload.measure(setup, order["size"])
    return {"before": before, "peak": _peak()}


def _peak() -> int:
    """The most memory that this process has had, in bytes.

    From /proc where there is one: a child's `ru_maxrss` may begin with the peak of its parent.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
