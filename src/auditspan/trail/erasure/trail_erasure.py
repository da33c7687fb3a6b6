"""Erasure, as a method of a trail."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session, scoped_session

from auditspan.capture import Capture
from auditspan.errors import AuditConfigError
from auditspan.format import Subject
from auditspan.trail.erasure.erase import Erasure, erase_subject


class TrailErasure:
    """The part of a trail that erases values of a subject."""

    _capture: Capture

    def erase(
        self,
        session: Session | scoped_session[Any],
        subject_type: str,
        subject_id: object,
        *,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Erasure:
        """Erase the erasable values of a subject from the trail.

        These are the values that `Policy(erasable)` and `Privacy(erasable)` name, in every event so
        far. They are removed with the key that they were encrypted with. Bodies, hashes, proofs and
        the collector's files do not change, because they contain only salted hashes of the values.
        The erasure is an event, `trail.erased`; it commits or rolls back with the transaction.
        Erasing again does nothing.

        The live tables do not change: change or delete the rows of the subject first, or in the
        same transaction.

        Args:
            session: a session of this trail; on PostgreSQL at READ COMMITTED.
            subject_type: the type of the subject, such as ``user``.
            subject_id: its id.
            reason: the reason, which is recorded.
            dry_run: only count the values.

        Raises:
            AuditConfigError: the subject has no type or id, or the isolation level is another.
            MissingActorError: no actor is set.
            AuditWriteError: the event could not be written.
        """
        subject = Subject(subject_type, str(subject_id))
        if not all(part.strip() for part in subject):
            raise AuditConfigError("the subject of an erasure needs a type and an id")
        plain: Session = session() if isinstance(session, scoped_session) else session
        plain.flush()
        connection = plain.connection()
        return erase_subject(connection, self._capture, subject, reason=reason, dry_run=dry_run)
