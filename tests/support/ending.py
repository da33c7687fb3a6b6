"""Things that a process of tests stops and removes when they are over.

Python exits too late for that: pytest-xdist kills a process that takes over ten seconds to exit,
and its PostgreSQL would keep running.
"""

from __future__ import annotations

import atexit
from contextlib import ExitStack

ENDING = ExitStack()
"""Closed by `pytest_sessionfinish`; without pytest, when Python exits."""

atexit.register(ENDING.close)
