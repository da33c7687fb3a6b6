"""Exceptions raised by auditspan.

    AuditError
    ├── AuditConfigError       invalid trail, policy or setting; nothing was written
    ├── UnauditedWriteError    write to a table that no trail covers; it was refused
    │   └── MissingActorError  no actor was given
    ├── AuditBodyError         value that cannot be represented losslessly in an audit body
    ├── AuditWriteError        audit row not written; the change was refused with it
    ├── RevertError            change that cannot be undone exactly; nothing was written
    ├── UnprotectedTrailError  database that allows changes to the trail or may lose commits
    ├── CollectorFilesError    unreadable collector files
    └── SinkError              batch not accepted by a sink
        ├── SinkUnavailableError        temporarily; the same batch must be sent again
        └── SinkRejectedError           permanently; the sink rejects a record of the batch

Each has a short code and a page of the same name under ``docs/errors/``. Foreign exceptions are
translated at the boundary and remain available as ``__cause__``.
"""

from __future__ import annotations

from typing import ClassVar


class AuditError(Exception):
    """Base class of all auditspan errors; the message says what to do."""

    code: ClassVar[str] = "audit"

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} [{self.code}: docs/errors/{self.code}.md]"


class AuditConfigError(AuditError):
    """Invalid configuration of the audit trail."""

    code = "config"


class UnauditedWriteError(AuditError):
    """Write to an audited table that no trail on its engine covers."""

    code = "unaudited-write"


class MissingActorError(UnauditedWriteError):
    """Missing actor: wrap the work in `with audit_context(actor=...)`."""

    code = "missing-actor"


class AuditBodyError(AuditError):
    """Value that cannot be represented losslessly in an audit body."""

    code = "body"


class AuditWriteError(AuditError):
    """Audit row not written; the change was refused with it."""

    code = "write"


class RevertError(AuditError):
    """Change that cannot be undone exactly; nothing was written."""

    code = "revert"


class UnprotectedTrailError(AuditError):
    """Database that allows changes to the audit trail or may lose commits."""

    code = "unprotected-trail"


class CollectorFilesError(AuditError):
    """Unreadable collector files."""

    code = "collector-files"


class SinkError(AuditError):
    """Batch not accepted by a sink."""

    code = "sink"


class SinkUnavailableError(SinkError):
    """Sink temporarily unavailable; the same batch must be sent again.

    Attributes:
        retry_after: the delay that the sink requested, in seconds, or None.
    """

    code = "sink-unavailable"

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SinkRejectedError(SinkError):
    """Batch permanently rejected by the sink."""

    code = "sink-rejected"
