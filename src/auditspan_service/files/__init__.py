"""Files for keys and addresses, and their permissions."""

from __future__ import annotations
