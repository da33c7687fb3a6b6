"""The service without its trail, and a hand-written trail in place of it: a floor for its cost.

`gunicorn serving.floor:app` is the exempt service on tables that keep their triggers. Before each
COMMIT it takes the staged rows with the drain's function, and inserts an audit row and as many
disclosures as an event of the service has, each with one statement of the driver. Their content is
constant: nothing is read, built, hashed or encrypted, and no span event or metric follows.
"""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event

from auditspan import Actor, Request, Service, Target
from auditspan.format import AuditRecord, Json, uuid7
from auditspan.storage.keys import load_or_create_mac_key
from auditspan_service.api.current import EXTENSION
from serving.exempt import app

DISCLOSURES = 5
"""The disclosures of an event: up to three values of the user, the actor's label and address."""

_DRAIN = "SELECT id, table_schema, table_name, operation, old, new FROM auditspan_drain(1000)"
_EVENT = """
INSERT INTO audit_event (event_id, occurred_at, actor_type, actor_id, action, outcome, target_type,
    target_id, trace_id, span_id, tx_id, tenant, body, mac, mac_key_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_ROW = "(%s, %s, %s, %s, %s, %s, %s)"
_DISCLOSURES = (
    "INSERT INTO audit_disclosure "  # noqa: S608 (no input)
    "(event_id, sha256, subject_type, subject_id, key_id, encrypted, term) "
    f"VALUES {', '.join([_ROW] * DISCLOSURES)}"
)
_KEY = load_or_create_mac_key(Path(os.environ["AUDITSPAN_MAC_KEY_FILE"]), create=False)
_ERASURE_KEY = str(uuid.uuid4())


def _body() -> str:
    """Return a body as long as those of the service."""
    hidden: dict[str, Json] = {"new": {"$erasable": "x" * 43}}
    return AuditRecord(
        event_id=uuid7(0, bytes(10)),
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        action="user.create",
        outcome="success",
        actor=Actor.user(1),
        target=Target(type="user", id="1", version=1),
        changes=dict.fromkeys(("username", "email", "full_name", "active"), hidden),
        request=Request(id="0" * 32, method="POST", route="/v1/users"),
        trace_id="0" * 32,
        span_id="0" * 16,
        tx_id=uuid7(0, bytes(10)),
        metadata={"erasable": [["x" * 43, "changes", "full_name"]] * DISCLOSURES},
        service=Service(name="auditspan", version="0.1.0", instance="0" * 36),
    ).body()


_BODY = _body()
_MAC = _KEY.sign(_BODY)


def _write(connection: Connection) -> None:
    cursor: Any = connection.connection.cursor()
    cursor.execute(_DRAIN)
    if cursor.fetchall():
        event_id = uuid7(time.time_ns() // 1_000_000, os.urandom(10))
        cursor.execute(_EVENT, _row(event_id))
        cursor.execute(_DISCLOSURES, [one for _ in range(DISCLOSURES) for one in _one(event_id)])
    cursor.close()


def _row(event_id: str) -> list[object]:
    random, now = uuid.uuid4().hex, datetime.now(UTC)
    who = ["user", "1", "user.create", "success", "user", random[:8]]
    where = [random, random[:16], str(uuid.uuid4()), None]
    return [event_id, now, *who, *where, _BODY, _MAC, _KEY.key_id]


def _one(event_id: str) -> list[object]:
    hashed = f"{uuid.uuid4().hex}{'x' * 11}"
    return [event_id, hashed, "user", "1", _ERASURE_KEY, bytes(90), None]


event.listen(app.extensions[EXTENSION].database.engine, "commit", _write)
