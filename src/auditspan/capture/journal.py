"""Journal of the records of a transaction that are not yet announced, savepoint by savepoint.

Rolling back a savepoint drops only its own records; releasing one hands them to the enclosing one;
the remaining records are announced after COMMIT has returned without an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from auditspan.errors import AuditWriteError
from auditspan.format import ActorType, AuditRecord

Announce = Callable[[Sequence[AuditRecord], Mapping[ActorType, int]], None]
"""Receives the first records of a transaction, at most `KEPT_RECORDS`, and the counts of all."""

KEPT_RECORDS = 100
"""The number of records that are announced one by one; the others are only counted."""


@dataclass
class _Frame:
    """The records of a savepoint, or of the transaction itself, which has no name."""

    name: str = ""
    first: list[AuditRecord] = field(default_factory=list)
    counts: dict[ActorType, int] = field(default_factory=dict)
    failure: Exception | None = None

    def add(self, record: AuditRecord) -> None:
        if len(self.first) < KEPT_RECORDS:
            self.first.append(record)
        self.counts[record.actor.type] = self.counts.get(record.actor.type, 0) + 1

    def merge(self, later: _Frame) -> None:
        self.first.extend(later.first[: KEPT_RECORDS - len(self.first)])
        for type_, number in later.counts.items():
            self.counts[type_] = self.counts.get(type_, 0) + number
        self.failure = later.failure or self.failure


@dataclass
class Journal:
    """The records of one connection's running transaction."""

    _frames: list[_Frame] = field(default_factory=lambda: [_Frame()])
    _announce: Announce | None = None
    _is_given_up: bool = False

    def counted(self, records: Iterable[AuditRecord], announce: Announce) -> Iterator[AuditRecord]:
        """Remember records while they pass, and the function that announces them."""
        frame, self._announce = self._frames[-1], announce
        for record in records:
            frame.add(record)
            yield record

    def fail(self, error: Exception) -> None:
        """Remember that a change was written but not its record.

        From here on the transaction, or the savepoint in which it happened, can only be rolled
        back, even if the caller swallows the error.
        """
        self._frames[-1].failure = error

    def give_up(self) -> None:
        """Note that the database will not commit.

        PostgreSQL answers COMMIT with a silent ROLLBACK after a failed statement, unless a
        savepoint was rolled back since.
        """
        self._is_given_up = True

    def require_complete(self) -> None:
        """Refuse to commit a transaction that lacks a record.

        Raises:
            AuditWriteError: a change in it has no record.
        """
        for frame in self._frames:
            if frame.failure is not None:
                raise AuditWriteError(
                    "this transaction cannot be committed, because a change in it has no audit "
                    "row: roll it back, and see the error above, which was raised at the change"
                ) from frame.failure

    def savepoint(self, name: str) -> None:
        """Begin a savepoint."""
        self._frames.append(_Frame(name))

    def roll_back_to(self, name: str) -> None:
        """Drop the records of a savepoint and of those inside it."""
        del self._frames[self._position(name) :]

    def release(self, name: str) -> None:
        """Hand the records of a savepoint, and of those inside it, to the enclosing one."""
        position = self._position(name)
        released = self._frames[position:]
        del self._frames[position:]
        for frame in released:
            self._frames[-1].merge(frame)

    def committed(self) -> None:
        """Announce the remaining records."""
        whole, *inner = self._frames
        for frame in inner:
            whole.merge(frame)
        if whole.counts and self._announce is not None and not self._is_given_up:
            self._announce(whole.first, whole.counts)

    def _position(self, name: str) -> int:
        """Return the position of the innermost savepoint of this name; the root has no name."""
        for position in range(len(self._frames) - 1, 0, -1):
            if self._frames[position].name == name:
                return position
        return 1
