"""Parts of `benchmarks/service.py`."""

from __future__ import annotations
