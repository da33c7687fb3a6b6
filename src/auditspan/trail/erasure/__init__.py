"""Erasure of a subject's values from the trail."""

from __future__ import annotations

from auditspan.trail.erasure.erase import Erasure
from auditspan.trail.erasure.rewrap import rewrap_subject_keys
from auditspan.trail.erasure.trail_erasure import TrailErasure

__all__ = ["Erasure", "TrailErasure", "rewrap_subject_keys"]
