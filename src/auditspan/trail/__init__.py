"""The trail of an application, and what it does besides capture.

Each folder here adds a group of its methods: `ingest`, `erasure` and `retention`. `settings` reads
what the environment says about a trail.
"""

from __future__ import annotations

from auditspan.trail.aio import AsyncTrail
from auditspan.trail.default_keys import KeyWarning
from auditspan.trail.trail import AuditTrail

__all__ = ["AsyncTrail", "AuditTrail", "KeyWarning"]
