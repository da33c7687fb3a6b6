"""What `benchmarks/service.py` is made of."""

from __future__ import annotations
