"""The HTTP API: views that open a unit of work, call an operation and return its result."""

from __future__ import annotations
