"""Plans of searches on PostgreSQL: no filter reads a whole table, on the first page or later."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, MetaData, event, text

from auditspan.format import canonical_json
from auditspan.storage import audit_tables, nearby
from auditspan.storage.new_disclosures import _checked_sql
from auditspan_service.database.engine import make_engine
from support.service import Caller, RunningService

ROWS = 50_000
EVENT = "00000000-0000-7000-8000-000000000000"
TRACE = "0af7651916cd43dd8448eb211c80319c"
FILTERS = {
    "none": "",
    "actor": "actor=7",
    "label": "actor=kim",
    "target": "target_type=invoice&target_id=11",
    "target_type": "target_type=invoice",
    "target_id": "target_id=11",
    "trace_id": f"trace_id={TRACE}",
    "tx_id": "tx_id=tx-7",
    "action": "action=invoice.void",
    "some actions": "action=invoice.v*",
    "outcome": "outcome=failure",
    "successes": "outcome=success",
    "since": "since=2026-01-01T12:00:00",
    "until": "until=2026-01-01T01:00:00",
    "both times": "since=2026-01-01T01:00:00&until=2026-01-01T02:00:00",
    "tenant": "tenant=north",
    "field": "field=iban",
    "request_id": "request_id=req-7",
    "on_behalf_of": "on_behalf_of=lee",
    "text": "text=iban",
    "with others": "actor=7&action=invoice.*&since=2026-01-01&tenant=north&field=iban",
    "not": "actor!=7&action!=invoice.v*&field!=iban",
}
OTHERS = (f"/{EVENT}", f"/{EVENT}/proof")
REQUEST = ("client_address", "user_agent", "method", "route")
FILL = """
INSERT INTO audit_event (event_id, occurred_at, actor_type, actor_id, action, outcome, target_type,
    target_id, trace_id, tx_id, tenant, body)
SELECT CASE WHEN n = 7 THEN CAST(:event AS uuid) ELSE gen_random_uuid() END,
    timestamptz '2026-01-01 00:00:00Z' + n * interval '1 second', 'user', CAST(n % 100 AS text),
    'invoice.' || CASE WHEN n % 1000 = 7 THEN 'void' ELSE 'sent' END,
    CASE WHEN n % 1000 = 7 THEN 'failure' ELSE 'success' END,
    CASE WHEN n % 1000 = 7 THEN 'invoice' ELSE 'letter' END, CAST(n % 1000 + 4 AS text),
    CASE WHEN n % 1000 = 7 THEN :trace ELSE md5(CAST(n AS text)) END, 'tx-' || n % 1000,
    CASE WHEN n % 1000 = 7 THEN 'north' END,
    CASE WHEN n % 1000 = 7 THEN :rare ELSE replace(:usual, '#', CAST(n AS text)) END
FROM generate_series(1, :rows) n
"""
SEAL = """
INSERT INTO audit_leaf (seq, row_id, event_id, leaf_hash)
SELECT row_number() OVER (ORDER BY id) - 1, id, event_id, sha256(event_id::text::bytea)
FROM audit_event
"""


def body(
    base: dict[str, Any], verb: str, label: str, field: str, behalf: str | None, request: str
) -> str:
    """A body with these members, that search terms are made of."""
    person: dict[str, Any] = {"id": "9", "label": behalf, "type": "user"}
    return canonical_json(
        {
            **base,
            "action": f"invoice.{verb}",
            "actor": {"id": "7", "label": label, "type": "user"},
            "changes": {field: {"new": "x"}},
            "on_behalf_of": person if behalf else None,
            "request": {"id": request} | dict.fromkeys(REQUEST),
        }
    )


def fill(connection: Connection, base: dict[str, Any]) -> None:
    """Insert rows with leaves, as fast as the server can."""
    rare = body(base, "void", "kim", "iban", "lee", "req-7")
    usual = body(base, "sent", "max", "total", None, "#")
    given = {"rows": ROWS, "trace": TRACE, "event": EVENT, "rare": rare, "usual": usual}
    connection.execute(text(FILL), given)
    connection.execute(text(SEAL))
    for table in ("audit_event", "audit_leaf"):
        connection.execute(text(f"ANALYZE {table}"))


def vacuum(engine: Engine) -> None:
    """Mark the pages that index-only scans need not read, as PostgreSQL does by itself."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE audit_event, audit_leaf"))


def pages(kim: Caller, query: str) -> Iterator[str]:
    """Ask for the first pages of a search."""
    following = f"/v1/audit-events?{query}&limit=2".replace("?&", "?")
    for name in ("first", "second"):
        response = kim("GET", following)
        assert response.status_code == 200, response.text
        yield name
        following = f"{following.partition('&cursor=')[0]}&cursor={response.get_json()['next']}"


def test_no_search_reads_a_whole_table(
    postgresql_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the events nor the leaves are scanned in sequence, on the first page and the next.

    Nor when the end of a span of time is anywhere in a trail that was vacuumed.
    """
    monkeypatch.setattr(nearby, "_FEW", ROWS // 20)  # as in a trail that is twenty times as large
    monkeypatch.setattr(nearby, "_LATER", ROWS // 100)
    service, kim = postgresql_service, postgresql_service.caller()
    engine = service.services.database.engine
    with engine.begin() as connection:
        fill(connection, service.bodies()[0])
    statements: list[tuple[str, Any]] = []

    def note(_connection: Connection, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        if "audit_event" in statement or "audit_leaf" in statement:
            statements.append((statement, given))

    event.listen(engine, "before_cursor_execute", note)
    plans: dict[tuple[str, str], str] = {}
    for name, query in FILTERS.items():
        for page in pages(kim, query):
            plans[name, page] = explain(engine, statements)
    for path in (*(f"/v1/audit-events{one}" for one in OTHERS), "/v1/history/invoice/11"):
        assert kim("GET", path).status_code in {200, 404, 409}
        plans[path, ""] = explain(engine, statements)
    vacuum(engine)
    statements.clear()
    for hour in ("01", "07", "13"):
        list(pages(kim, f"until=2026-01-01T{hour}:00:00"))
        plans["until", hour] = explain(engine, statements)
    event.remove(engine, "before_cursor_execute", note)
    scans = ("Seq Scan on audit_event", "Seq Scan on audit_leaf")
    assert {} == {name: plan for name, plan in plans.items() if any(scan in plan for scan in scans)}


def explain(engine: Any, statements: list[tuple[str, Any]]) -> str:
    """The plans of the statements so far, which are forgotten."""
    noted = list(statements)
    with engine.connect() as connection:
        lines = [
            line
            for each, given in noted
            for line in connection.exec_driver_sql(f"EXPLAIN {each}", given).scalars()
        ]
    statements.clear()
    assert lines
    return "\n".join(lines)


@pytest.mark.parametrize("new_keys", [0, 1])
def test_key_of_a_disclosure_is_looked_up_by_its_index(postgresql_url: str, new_keys: int) -> None:
    """Even by a plan that is made for an empty table, and then kept while the table grows."""
    engine = make_engine(postgresql_url)
    statement = _checked_sql(audit_tables(MetaData()), engine.dialect, 2, new_keys)
    ids = [str(uuid4()) for _ in range(3)]
    key = (ids[2], "user", "1", b"wrapped", "erasure")
    rows = [(one, "sha256", "user", "1", ids[2], b"encrypted", None) for one in ids[:2]]
    values = tuple(chain.from_iterable([*[key] * new_keys, *rows]))
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars().all()
    engine.dispose()
    assert any("Index Only Scan using pk_audit_subject_key" in line for line in plan)
    assert [] == [line for line in plan if "Seq Scan" in line]
