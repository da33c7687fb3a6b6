"""Guards: checks that the database protects the trail, and their repair."""

from __future__ import annotations

from auditspan.seal.guards.check import check_guards, require_guards, restore_guards
from auditspan.seal.guards.finding import Finding, Kind

__all__ = ["Finding", "Kind", "check_guards", "require_guards", "restore_guards"]
