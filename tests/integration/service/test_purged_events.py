"""What the API answers about events that retention removed."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from sqlalchemy import func, select, update

from auditspan import Actor, audit_context
from auditspan.delivery import FileSink, Relay
from auditspan.reading import check_proof
from auditspan.seal import Sealer
from auditspan.tlog import SigningKey
from support.service import RunningService, problem

KEY = SigningKey(name="auditspan/test", seed=bytes(range(32)))


def settle(service: RunningService) -> None:
    """Seal and deliver everything, and let the sink confirm it."""
    engine, trail = service.services.database.engine, service.services.trail
    while Sealer(engine, trail.tables, signing_key=KEY, mac_key=trail.mac_key).seal():
        pass
    sink = FileSink(service.services.settings.collector_files)
    with engine.connect() as connection:
        Relay(engine, trail.tables, sink).deliver(connection)
    sink.close()
    newest = select(func.max(trail.tables.leaf.c.seq)).scalar_subquery()
    with engine.begin() as connection:
        connection.execute(update(trail.tables.delivery).values(safe_seq=newest))


def test_purged_event_is_gone_and_can_be_proven(service: RunningService) -> None:
    """410 with the event that authorised it; a key of a tenant gets 404: its tenant is unknown."""
    admin = service.caller(username="root")
    admin.create(username="lee")
    (event,) = admin("GET", "/v1/audit-events?action=user.create&target_id=2").get_json()["items"]
    settle(service)
    retention = service.services.trail.retention
    cut = datetime.now(UTC)
    time.sleep(0.01)  # SQLite's clock has milliseconds
    actor = audit_context(actor=Actor.user("9"))
    with actor, service.services.database.sessions() as session:
        retention.authorise(session, before=cut, reason="policy")
    settle(service)
    admin.create(username="sam")
    admin("PATCH", "/v1/users/2", json={"full_name": "Lee"}, headers={"If-Match": "*"})
    report = retention.purge()
    path = f"/v1/audit-events/{event['event_id']}"
    gone = admin("GET", path)
    assert (410, "/problems/purged") == (gone.status_code, problem(gone)["type"])
    assert str(report.event_id) in problem(gone)["detail"]
    assert f'</v1/audit-events/{report.event_id}>; rel="related"' == gone.headers["Link"]
    purged = [
        admin("GET", f"/v1/history/{one}").get_json()["purged"] for one in ("user/2", "user/3")
    ]
    assert [report.event_id, None] == [one and one["event_id"] for one in purged]
    proof = admin("GET", f"{path}/proof").get_json()
    assert (None, None) == (proof["body"], check_proof(proof, [KEY.public]))
    assert 404 == admin("GET", f"/v1/audit-events/{'0' * 8}{event['event_id'][8:]}").status_code
    north = service.issue("audit:read", username="north")
    with audit_context(actor=Actor.system("test")), service.services.database.writing() as session:
        session.merge(north.key).tenant = "north"
    caller = type(admin)(app=service.app, key=north.text, user_id=1)
    assert [404, 404] == [caller("GET", one).status_code for one in (path, f"{path}/proof")]
