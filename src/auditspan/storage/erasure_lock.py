"""Lock between the erasure of a subject and transactions that store values of it.

On PostgreSQL an erasure waits for these transactions, and new ones wait for it, so that it erases
all that is committed before it. Subjects share a fixed number of advisory locks, since a server
keeps only some thousand. On SQLite there is one writer.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Protocol

from sqlalchemy import Connection, text

from auditspan.errors import AuditConfigError
from auditspan.format import Subject
from auditspan.storage.dialects import PerDialect

_CLASS = 0x61756465
"""The first number of the advisory locks ("aude")."""

_LOCKS = 64

_SHARE = (
    "SELECT current_setting('transaction_isolation') FROM (SELECT array_agg("  # noqa: S608 (a number of our own)
    f"CAST(pg_advisory_xact_lock_shared({_CLASS}, n) AS text)) AS taken "
    "FROM unnest(CAST(string_to_array(?, ',') AS int[])) n) locks WHERE taken IS NOT NULL"
)
_EXCLUDE = text("SELECT pg_advisory_xact_lock(:class, :n)")
_ISOLATION = text("SELECT current_setting('transaction_isolation')")
_SEES_NEWEST = frozenset({"read committed", "read uncommitted"})


class ErasureLock(Protocol):
    """Lock of one database."""

    def query(self, subjects: Iterable[Subject], /) -> tuple[str, str] | None:
        """Return a scalar query, with its parameter, that takes the lock for these subjects.

        Erasures of them then wait until the transaction ends. None if there is nothing to lock.
        """

    def sees_newest(self, answer: object, /) -> bool:
        """Return whether the next query sees what an erasure has just committed.

        Args:
            answer: what the query has returned.
        """

    def exclude(self, connection: Connection, subject: Subject, /) -> None:
        """Wait for transactions that store values of this subject, and keep new ones waiting.

        Raises:
            AuditConfigError: the transaction would not see what these have committed.
        """


class _AdvisoryLocks:
    def query(self, subjects: Iterable[Subject]) -> tuple[str, str]:
        numbers = sorted({_number(subject) for subject in subjects})
        return _SHARE, ",".join(map(str, numbers))

    def sees_newest(self, answer: object) -> bool:
        return answer in _SEES_NEWEST

    def exclude(self, connection: Connection, subject: Subject) -> None:
        level = connection.execute(_ISOLATION).scalar_one()
        if level not in _SEES_NEWEST:
            raise AuditConfigError(
                f"the erasure needs the isolation level READ COMMITTED, not {level.upper()}: it "
                "would not see what other transactions have just committed"
            )
        connection.execute(_EXCLUDE, {"class": _CLASS, "n": _number(subject)})


class _OneWriter:
    def query(self, _subjects: Iterable[Subject]) -> None:
        return

    def sees_newest(self, _answer: object) -> bool:
        return True

    def exclude(self, _connection: Connection, _subject: Subject) -> None:
        return


def _number(subject: Subject) -> int:
    return zlib.crc32("\0".join(subject).encode()) % _LOCKS


LOCKS = PerDialect[ErasureLock](postgresql=_AdvisoryLocks(), sqlite=_OneWriter())
