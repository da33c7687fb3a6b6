"""What a database transaction has recorded and not yet announced, savepoint by savepoint.

Kept on the connection and not on the session, since only the connection knows when the database
has committed: a session may be joined into a transaction of somebody else, two sessions may share
one, and statements on a bare connection have no session at all. A rolled-back savepoint takes only
its own records with it; a released one hands them to the one around it; what is left is announced
when COMMIT has returned without an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field

from auditspan.errors import AuditWriteError
from auditspan.format import ActorType, AuditRecord

Announce = Callable[[Sequence[AuditRecord], Mapping[ActorType, int]], None]
"""Takes the first records of a transaction, at most `KEPT_RECORDS`, and how many there are."""

KEPT_RECORDS = 100
"""How many records are kept to be announced one by one; the others are counted."""


@dataclass(kw_only=True)
class _Frame:
    """A transaction or a savepoint."""

    name: str = ""
    first: list[AuditRecord] = field(default_factory=list)
    counts: Counter[ActorType] = field(default_factory=Counter)
    failure: Exception | None = None
    is_given_up: bool = False

    def extend(self, records: Sequence[AuditRecord], counts: Mapping[ActorType, int]) -> None:
        self.first.extend(records[: KEPT_RECORDS - len(self.first)])
        self.counts.update(counts)


@dataclass(kw_only=True, eq=False)
class Journal:
    """The records of one connection's running transaction.

    Attributes:
        is_transactional: whether it is known that a change and its row share this transaction.
    """

    is_transactional: bool = False
    _frames: list[_Frame] = field(default_factory=lambda: [_Frame()])
    _tx_id: str | None = None
    _announce: Announce | None = None
    _context: Context = field(default_factory=copy_context)

    def tx_id(self, new_id: Callable[[], str]) -> str:
        """The id of the transaction, one for all its savepoints."""
        self._tx_id = self._tx_id or new_id()
        return self._tx_id

    def add(self, records: Sequence[AuditRecord], announce: Announce) -> None:
        """Remember records that have just been written, and how to announce them."""
        self._frames[-1].extend(records, Counter(record.actor.type for record in records))
        self._announce = announce

    def fail(self, error: Exception) -> None:
        """Remember that something was written whose record was not.

        The transaction, or the savepoint in which it happened, can only be rolled back from here
        on, also when the caller swallows the error.
        """
        self._frames[-1].failure = error

    def give_up(self) -> None:
        """Note that the database will not commit this: PostgreSQL after any failed statement.

        It answers COMMIT with a silent ROLLBACK then, and only a rolled-back savepoint mends it.
        """
        self._frames[-1].is_given_up = True

    def require_complete(self) -> None:
        """Refuse to commit a transaction that lacks a record.

        Raises:
            AuditWriteError: it does.
        """
        for frame in self._frames:
            if frame.failure is not None:
                raise AuditWriteError(
                    "this transaction cannot be committed, because a change in it has no audit "
                    "row: roll it back, and look at the error above, which was raised at the change"
                ) from frame.failure

    def savepoint(self, name: str) -> None:
        """Begin a savepoint."""
        self._frames.append(_Frame(name=name))

    def roll_back_to(self, name: str) -> None:
        """Drop the records of a savepoint and of those inside it."""
        del self._frames[self._position(name) :]

    def release(self, name: str) -> None:
        """Hand the records of a savepoint, and of those inside it, to the one around it."""
        position = self._position(name)
        released = self._frames[position:]
        del self._frames[position:]
        for frame in released:
            self._frames[-1].extend(frame.first, frame.counts)
            self._frames[-1].failure = frame.failure or self._frames[-1].failure
            self._frames[-1].is_given_up |= frame.is_given_up

    def committing(self) -> None:
        """Note the context of the one who commits; its span is where the events belong."""
        self._context = copy_context()

    def committed(self) -> None:
        """Announce what is left."""
        whole = _Frame()
        for frame in self._frames:
            whole.extend(frame.first, frame.counts)
        is_given_up = any(frame.is_given_up for frame in self._frames)
        if whole.counts and self._announce is not None and not is_given_up:
            self._context.run(self._announce, whole.first, whole.counts)

    def _position(self, name: str) -> int:
        """Where the innermost savepoint of this name stands; the root has none."""
        for position in range(len(self._frames) - 1, 0, -1):
            if self._frames[position].name == name:
                return position
        return 1
