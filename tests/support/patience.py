"""Timeouts of tests, for a machine that is slow and busy, and whose disk is, too."""

from __future__ import annotations

import os

PATIENCE = 120.0
"""Seconds for what has to come some time. Only a test that fails waits so long."""

_SLOWER = 3


def promised(seconds: float) -> float:
    """Seconds in which something has to have happened, since that is promised.

    `make soak` measures the promise itself. Any other run may share its machine with others, and
    has three times as long.
    """
    return seconds if os.environ.get("AUDITSPAN_SOAK") == "1" else _SLOWER * seconds
