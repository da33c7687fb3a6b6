"""Plans of searches on PostgreSQL: actor, target, trace and event are found by an index.

Other filters have no index. Alone, they make PostgreSQL read the rows from the newest back, or all.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Connection, event, text

from auditspan.format import canonical_json
from support.service import RunningService

ROWS = 50_000
TRACE = "0af7651916cd43dd8448eb211c80319c"
QUERIES: dict[str, str] = {
    "none": "/v1/audit-events",
    "actor": "/v1/audit-events?actor=7",
    "target": "/v1/audit-events?target_type=invoice&target_id=4711",
    "trace": f"/v1/audit-events?trace_id={TRACE}",
    "with others": "/v1/audit-events?actor=7&action=invoice.void&since=2100-01-01&tenant=north",
    "event": "/v1/audit-events/{event_id}",
    "proof": "/v1/audit-events/{event_id}/proof",
    "history": "/v1/history/invoice/4711",
}
FILL = """
INSERT INTO audit_event (event_id, occurred_at, actor_type, actor_id, action, outcome, target_type,
    target_id, trace_id, tx_id, body)
SELECT gen_random_uuid(), now(), 'user', (n % 100)::text, 'invoice.sent', 'success', 'invoice',
    n::text, CASE WHEN n = 4711 THEN :trace ELSE md5(n::text) END, 'tx-' || n, :body
FROM generate_series(1, :rows) n
"""
SEAL = """
INSERT INTO audit_leaf (seq, row_id, event_id, leaf_hash)
SELECT row_number() OVER (ORDER BY id) - 1, id, event_id, sha256(event_id::text::bytea)
FROM audit_event
"""


def fill(connection: Connection) -> str:
    """Insert rows with leaves, as fast as the server can; the id of one event."""
    body = canonical_json({"action": "invoice.sent"})
    connection.execute(text(FILL), {"rows": ROWS, "trace": TRACE, "body": body})
    connection.execute(text(SEAL))
    for table in ("audit_event", "audit_leaf"):
        connection.execute(text(f"ANALYZE {table}"))
    found: uuid.UUID = connection.execute(
        text("SELECT event_id FROM audit_event ORDER BY id DESC LIMIT 1")
    ).scalar_one()
    return str(found)


def test_indexed_search_reads_no_table_as_a_whole(postgresql_service: RunningService) -> None:
    """Neither the events nor the leaves are scanned in sequence."""
    service, kim = postgresql_service, postgresql_service.caller()
    engine = service.services.database.engine
    with engine.begin() as connection:
        event_id = fill(connection)
    statements: list[tuple[str, Any]] = []

    def note(_connection: Connection, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        if "audit_event" in statement or "audit_leaf" in statement:
            statements.append((statement, given))

    plans = {}
    for name, query in QUERIES.items():
        statements.clear()
        event.listen(engine, "before_cursor_execute", note)
        response = kim("GET", query.format(event_id=event_id))
        event.remove(engine, "before_cursor_execute", note)
        assert response.status_code in {200, 409}, (name, response.text)
        assert statements, name
        with engine.connect() as connection:
            plans[name] = "\n".join(
                line
                for each, given in statements
                for line in connection.exec_driver_sql(f"EXPLAIN {each}", given).scalars()
            )
    scans = ("Seq Scan on audit_event", "Seq Scan on audit_leaf")
    assert {} == {name: plan for name, plan in plans.items() if any(scan in plan for scan in scans)}
