"""What a session has recorded and not yet announced, kept per transaction and per savepoint.

`after_commit` and `after_rollback` fire for savepoints too, and a rolled-back savepoint takes only
its own records with it. So every record belongs to the innermost savepoint in which it was written;
a released savepoint hands its records to the one around it; the root announces what is left, and
only when it has committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session, SessionTransaction

from auditspan.record import AuditRecord


class Journal:
    """The records of one session by transaction."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._records: dict[SessionTransaction, list[AuditRecord]] = {}
        self._tx_ids: dict[SessionTransaction, str] = {}
        self._committed: SessionTransaction | None = None

    def tx_id(self, session: Session) -> str:
        """The id of the running transaction, one for all its savepoints."""
        root = session.get_transaction()
        assert root is not None, "a flush runs in a transaction"  # noqa: S101 (ORM invariant)
        if root not in self._tx_ids:
            self._tx_ids[root] = self._new_id()
        return self._tx_ids[root]

    def add(self, session: Session, records: Sequence[AuditRecord]) -> None:
        """Remember records that have just been written."""
        self._records.setdefault(_innermost(session), []).extend(records)

    def rolled_back(self, session: Session) -> None:
        """Drop the records of the savepoint or transaction that has been rolled back."""
        self._records.pop(_innermost(session), None)

    def committed(self, session: Session) -> None:
        """Note that the root, if it is the root, is in the database."""
        if session.get_nested_transaction() is None:
            self._committed = session.get_transaction()

    def ended(self, transaction: SessionTransaction) -> list[AuditRecord]:
        """Close a transaction or savepoint; the records that may now be announced."""
        records = self._records.pop(transaction, [])
        if transaction.parent is not None:
            if transaction.nested and records:
                self._records.setdefault(_enclosing(transaction), []).extend(records)
            return []
        self._tx_ids.pop(transaction, None)
        committed, self._committed = self._committed is transaction, None
        return records if committed else []


def _innermost(session: Session) -> SessionTransaction:
    transaction = session.get_nested_transaction() or session.get_transaction()
    assert transaction is not None, "these events fire inside a transaction"  # noqa: S101
    return transaction


def _enclosing(transaction: SessionTransaction) -> SessionTransaction:
    outer = transaction.parent
    while outer is not None and outer.parent is not None and not outer.nested:
        outer = outer.parent
    assert outer is not None, "a savepoint has a parent"  # noqa: S101
    return outer
