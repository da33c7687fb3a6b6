"""The back office under an audit trail."""

from __future__ import annotations

from typing import Any

from apps.office.desk import Desk
from apps.office.models import Base
from auditspan import AuditTrail


def audited(desk: Desk, **options: Any) -> AuditTrail:
    """Put the application under a trail; the options are those of `AuditTrail`."""
    return AuditTrail(desk.sessions, metadata=Base.metadata, **options)
