"""A trail without models, for tests of what needs only events."""

from __future__ import annotations

from sqlalchemy import Engine, MetaData
from sqlalchemy.orm import sessionmaker

from auditspan import AuditTrail


def bare_trail(engine: Engine) -> AuditTrail:
    """Create the audit tables in an empty database, and return the trail over them."""
    trail = AuditTrail(sessionmaker(engine), metadata=MetaData(), mac_key=None)
    trail.tables.event.metadata.create_all(engine)
    return trail
