"""The HTTP door: views that open a unit of work, call a use case and show what came of it."""

from __future__ import annotations
