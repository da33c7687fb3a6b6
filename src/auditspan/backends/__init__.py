"""Audit records read back from log backends, through their query APIs."""

from __future__ import annotations

from auditspan.backends.backend import oldest_moment, read_backend
from auditspan.backends.delivered import Delivered

__all__ = ["Delivered", "oldest_moment", "read_backend"]
