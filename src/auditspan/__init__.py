"""A trustworthy audit trail for Flask and SQLAlchemy services.

Session = sessionmaker(engine)
trail = AuditTrail(Session, metadata=Base.metadata)
with audit_context(actor=Actor.system("nightly-billing")), Session.begin() as session:
    session.add(Invoice(...))  # the audit row commits with it
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from auditspan.errors import (
    AuditBodyError,
    AuditConfigError,
    AuditError,
    AuditWriteError,
    CollectorFilesError,
    EventConflictError,
    IngestError,
    KeyFileError,
    LogBackendError,
    MissingActorError,
    NotSealedError,
    PurgedError,
    RetentionError,
    RevertError,
    SettingsError,
    SinkError,
    SinkRejectedError,
    SinkUnavailableError,
    UnauditedWriteError,
    UnprotectedTrailError,
)

if TYPE_CHECKING:
    from auditspan.context import CarriedContext, audit_context, carry_context
    from auditspan.format import Actor, ErasureKey, MacKey, Request, Service, Target
    from auditspan.mapping import Exempt, Policy, Privacy
    from auditspan.reading import Event, History
    from auditspan.reading.states import Digest, Erased, Redacted, State
    from auditspan.trail import AsyncTrail, AuditTrail
    from auditspan.trail.erasure import Erasure
    from auditspan.trail.ingest import ForeignEvent

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
    "Erased",
    "Erasure",
    "ErasureKey",
    "Event",
    "EventConflictError",
    "Exempt",
    "ForeignEvent",
    "History",
    "IngestError",
    "KeyFileError",
    "LogBackendError",
    "MacKey",
    "MissingActorError",
    "NotSealedError",
    "Policy",
    "Privacy",
    "PurgedError",
    "Redacted",
    "Request",
    "RetentionError",
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

_PLACES = {
    "AsyncTrail": "auditspan.trail",
    "CarriedContext": "auditspan.context",
    "audit_context": "auditspan.context",
    "carry_context": "auditspan.context",
    "Actor": "auditspan.format",
    "ErasureKey": "auditspan.format",
    "MacKey": "auditspan.format",
    "Request": "auditspan.format",
    "Service": "auditspan.format",
    "Target": "auditspan.format",
    "ForeignEvent": "auditspan.trail.ingest",
    "Exempt": "auditspan.mapping",
    "Policy": "auditspan.mapping",
    "Privacy": "auditspan.mapping",
    "Event": "auditspan.reading",
    "History": "auditspan.reading",
    "Digest": "auditspan.reading.states",
    "Erased": "auditspan.reading.states",
    "Erasure": "auditspan.trail.erasure",
    "Redacted": "auditspan.reading.states",
    "State": "auditspan.reading.states",
    "AuditTrail": "auditspan.trail",
}
"""Modules of the names that are imported on first use, because SQLAlchemy is slow to import."""

if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name (PEP 562)."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = resolve_name(f"{_PLACES[name]}:{name}")
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
