"""Files on disk that hold keys and addresses, and who may read them."""

from __future__ import annotations
