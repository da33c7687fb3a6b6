"""Guards: checks that the database protects the trail, and their repair."""

from __future__ import annotations

from auditspan.guards.check import Finding, Kind, check_guards, require_guards, restore_guards

__all__ = ["Finding", "Kind", "check_guards", "require_guards", "restore_guards"]
