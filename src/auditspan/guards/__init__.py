"""What a database does for the trail, looked at while it lives, and put right."""

from __future__ import annotations

from auditspan.guards.check import Finding, Kind, check_guards, require_guards, restore_guards

__all__ = ["Finding", "Kind", "check_guards", "require_guards", "restore_guards"]
