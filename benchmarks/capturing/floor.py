"""The floor: what the rows alone cost, without finding out what stands in them.

One batched INSERT for each flush into a table with the columns, indexes and triggers of auditspan's
own, and rows of the same size. The text in them is made of nothing: no history of attributes is
read, no JSON is written, no MAC is computed. Only ids and times are fresh.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.orm import Session, UOWTransaction

from capturing.setup import Setup

FLOOR_TABLE = "audit_event"

_INSERT = text(
    "INSERT INTO audit_event (event_id, occurred_at, actor_type, actor_id, action, outcome,"
    " target_type, target_id, trace_id, span_id, tx_id, tenant, body, mac, mac_key_id) VALUES"
    " (:event_id, :occurred_at, :actor_type, :actor_id, :action, :outcome, :target_type,"
    " :target_id, :trace_id, :span_id, :tx_id, :tenant, :body, :mac, :mac_key_id)"
)


class Floor:
    """The listener that a person would write by hand."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def listen(self) -> None:
        """Write rows after every flush."""
        event.listen(self._setup.sessions, "after_flush", self._after_flush)

    def write(self, session: Session, count: int) -> None:
        """So many rows in one INSERT, in the session's transaction."""
        now, first = datetime.now(UTC), time.time_ns() << 64
        if session.get_bind().dialect.name == "sqlite":
            now = now.replace(tzinfo=None)
        body = "b" * self._setup.body_size
        rows = [_row(first + number, now, f"{first:032x}", body) for number in range(count)]
        session.connection().execute(_INSERT, rows)

    def _after_flush(self, session: Session, _context: UOWTransaction) -> None:
        self.write(session, len(session.new) + len(session.dirty))


def _row(number: int, now: datetime, tx_id: str, body: str) -> dict[str, Any]:
    return {
        "event_id": f"{number:032x}",  # one after the other, which indexes like best
        "occurred_at": now,
        "actor_type": "user",
        "actor_id": "7",
        "action": "account.update",
        "outcome": "success",
        "target_type": "account",
        "target_id": str(number)[-4:],
        "trace_id": None,
        "span_id": None,
        "tx_id": tx_id,
        "tenant": None,
        "body": body,
        "mac": "0" * 64,
        "mac_key_id": "00000000",
    }
