"""The archive under an audit trail."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from apps.archive.models import Base
from auditspan import AuditTrail


def audited(engine: Engine, **options: Any) -> AuditTrail:
    """Put the application under a trail; the options are those of `AuditTrail`."""
    return AuditTrail(sessionmaker(engine), metadata=Base.metadata, **options)
