"""Every error that auditspan raises.

    AuditError
    ├── AuditConfigError       the trail, a policy or a setting is wrong; nothing has been written
    ├── UnauditedWriteError    no trail knows the table of a write; it was refused
    │   └── MissingActorError  nobody said who acts
    ├── AuditBodyError         a value cannot stand in an audit body without being altered
    ├── AuditWriteError        the audit row could not be written; the change was refused with it
    ├── UnprotectedTrailError  the database would let the trail be changed, or lose commits
    ├── CollectorFilesError    the collector's files cannot be read
    └── SinkError              a sink did not take a batch
        ├── SinkUnavailableError        not now; the same batch must be sent again
        └── SinkRejectedError           never; the batch holds a record that the sink refuses

Each has a short code and a page of the same name under ``docs/errors/``. Foreign exceptions are
translated where they enter and stay reachable as ``__cause__``.
"""

from __future__ import annotations

from typing import ClassVar


class AuditError(Exception):
    """Something about the audit trail went wrong; the message says what to do."""

    code: ClassVar[str] = "audit"

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} [{self.code}: docs/errors/{self.code}.md]"


class AuditConfigError(AuditError):
    """The audit trail is set up in a way that cannot work."""

    code = "config"


class UnauditedWriteError(AuditError):
    """This write would change an audited table that no trail over its engine knows."""

    code = "unaudited-write"


class MissingActorError(UnauditedWriteError):
    """Nobody said who acts: wrap the work in `with audit_context(actor=...)`."""

    code = "missing-actor"


class AuditBodyError(AuditError):
    """A value cannot be represented in an audit body without being altered."""

    code = "body"


class AuditWriteError(AuditError):
    """The audit row could not be written, so the change was refused with it."""

    code = "write"


class UnprotectedTrailError(AuditError):
    """The database would let the audit trail be changed, or lose what it committed."""

    code = "unprotected-trail"


class CollectorFilesError(AuditError):
    """The collector's files cannot be read."""

    code = "collector-files"


class SinkError(AuditError):
    """A sink did not take a batch."""

    code = "sink"


class SinkUnavailableError(SinkError):
    """The sink cannot take the batch now; the same batch must be sent again.

    Attributes:
        retry_after: seconds that the sink asked for, or None.
    """

    code = "sink-unavailable"

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SinkRejectedError(SinkError):
    """The sink will never take this batch as it is."""

    code = "sink-rejected"
