"""A trustworthy audit trail for Flask and SQLAlchemy services.

Session = sessionmaker(engine)
trail = AuditTrail(Session, metadata=Base.metadata)
with audit_context(actor=Actor.system("nightly-billing")), Session.begin() as session:
    session.add(Invoice(...))  # the audit row commits with it
"""

from __future__ import annotations

from auditspan.aio import AsyncTrail
from auditspan.context import CarriedContext, audit_context, carry_context
from auditspan.errors import (
    AuditBodyError,
    AuditConfigError,
    AuditError,
    AuditWriteError,
    CollectorFilesError,
    EventConflictError,
    IngestError,
    KeyFileError,
    MissingActorError,
    NotSealedError,
    RevertError,
    SettingsError,
    SinkError,
    SinkRejectedError,
    SinkUnavailableError,
    UnauditedWriteError,
    UnprotectedTrailError,
)
from auditspan.format import Actor, MacKey, Request, Service, Target
from auditspan.ingest import ForeignEvent
from auditspan.mapping import Exempt, Policy
from auditspan.reading import Event
from auditspan.states import Digest, Redacted, State
from auditspan.trail import AuditTrail

__all__ = [
    "Actor",
    "AsyncTrail",
    "AuditBodyError",
    "AuditConfigError",
    "AuditError",
    "AuditTrail",
    "AuditWriteError",
    "CarriedContext",
    "CollectorFilesError",
    "Digest",
    "Event",
    "EventConflictError",
    "Exempt",
    "ForeignEvent",
    "IngestError",
    "KeyFileError",
    "MacKey",
    "MissingActorError",
    "NotSealedError",
    "Policy",
    "Redacted",
    "Request",
    "RevertError",
    "Service",
    "SettingsError",
    "SinkError",
    "SinkRejectedError",
    "SinkUnavailableError",
    "State",
    "Target",
    "UnauditedWriteError",
    "UnprotectedTrailError",
    "audit_context",
    "carry_context",
]
