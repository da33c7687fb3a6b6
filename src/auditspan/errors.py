"""Exceptions raised by auditspan.

    AuditError
    ├── AuditConfigError       invalid trail, policy or setting; nothing was written
    ├── UnauditedWriteError    write to a table that no trail covers; it was refused
    │   └── MissingActorError  no actor was given
    ├── AuditBodyError         value that cannot be represented losslessly in an audit body
    ├── AuditWriteError        audit row not written; the change was refused with it
    ├── RevertError            change that cannot be undone exactly; nothing was written
    ├── UnprotectedTrailError  database that allows changes to the trail or may lose commits
    ├── IngestError            event of another program refused, with its whole batch
    │   └── EventConflictError  its id is recorded with other content
    ├── NotSealedError         event that no checkpoint covers yet
    ├── RetentionError         purge that is not authorised or cannot be carried out
    ├── PurgedError            events that a purge removed
    ├── CollectorFilesError    unreadable collector files
    ├── LogBackendError        log backend that cannot be asked for its records
    ├── SettingsError          invalid setting; nothing was started
    ├── KeyFileError           key file missing, unreadable or damaged
    └── SinkError              batch not accepted by a sink
        ├── SinkUnavailableError        temporarily; the same batch must be sent again
        └── SinkRejectedError           permanently; the sink rejects a record of the batch

Each has a short code and a page of the same name under ``docs/errors/``. Foreign exceptions are
translated at the boundary and remain available as ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


def as_sentence(message: str) -> str:
    """Return a message that may be written to follow a colon as a sentence of its own."""
    first = message.partition(" ")[0]
    begun = message[:1].upper() + message[1:] if first.isalpha() else message
    return begun if begun.endswith((".", "!", "?", ".)")) else f"{begun}."


class AuditError(Exception):
    """Base class of all auditspan errors; the message says what to do."""

    code: ClassVar[str] = "audit"

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(self.message)

    @property
    def sentence(self) -> str:
        """The message as a sentence of its own."""
        return as_sentence(self.message)

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


class IngestError(AuditError):
    """Event of another program refused; nothing of its batch was recorded.

    Attributes:
        index: the position of the event in its batch, from 0; None if it concerns the whole batch.
    """

    code = "ingest"

    def __init__(self, message: str | None = None, *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class EventConflictError(IngestError):
    """Event id that is already recorded with other content; nothing of the batch was recorded."""

    code = "event-conflict"


class NotSealedError(AuditError):
    """Event that no checkpoint covers yet, so it has no proof."""

    code = "not-sealed"


class RetentionError(AuditError):
    """Purge that is not authorised or cannot be carried out; nothing was removed by this call."""

    code = "retention"


class PurgedError(AuditError):
    """Events that were removed by a purge, so that the answer is not known."""

    code = "purged"


class CollectorFilesError(AuditError):
    """Unreadable collector files."""

    code = "collector-files"


class LogBackendError(AuditError):
    """Log backend that cannot be asked for its records."""

    code = "log-backend"


class SettingsError(AuditError):
    """Invalid setting; nothing was started.

    Attributes:
        sentences: one for each invalid setting, which names its variable and not its value.
    """

    code = "settings"

    def __init__(self, sentences: Sequence[str] = ()) -> None:
        self.sentences = (sentences,) if isinstance(sentences, str) else tuple(sentences)
        super().__init__("\n".join(self.sentences))


class KeyFileError(AuditError):
    """Key file missing, unreadable or damaged."""

    code = "key-file"


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
