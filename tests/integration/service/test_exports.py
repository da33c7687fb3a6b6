"""`GET /v1/audit-events/export`: what leaves the service can be checked without it."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from typing import Any

import pytest
from sqlalchemy import select, text

from auditspan.reading import check_export
from auditspan.seal import Sealer
from auditspan.storage.keys import load_or_create_signing_keys
from auditspan.tlog import SigningKey
from auditspan_service.config import Settings
from support.attacker import take_guards_away
from support.service import Caller, RunningService, problem

PATH = "/v1/audit-events/export"
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "plain", 'a"b', "a,b\nc")


@pytest.fixture
def key(settings: Settings) -> SigningKey:
    """The signing key."""
    (made,) = load_or_create_signing_keys(settings.signing_key_file, create=True)
    return made


def seal(service: RunningService, key: SigningKey) -> None:
    """Seal everything."""
    engine, tables = service.services.database.engine, service.services.trail.tables
    while Sealer(engine, tables, signing_key=key).seal():
        pass


@pytest.fixture
def kim(service: RunningService, key: SigningKey) -> Caller:
    """A caller with a sealed trail of events, and one that is not sealed yet."""
    caller = service.caller()
    events = [{"action": "note.made", "reason": each} for each in FORMULAS]
    caller("POST", "/v1/audit-events", json=events)
    caller.create(username="lee")
    seal(service, key)
    caller("POST", "/v1/audit-events", json={"action": "note.late"})
    return caller


def exported(kim: Caller, **query: str) -> list[str]:
    """The lines of an export."""
    response = kim("GET", PATH, query_string=query)
    assert 200 == response.status_code, response.text
    return response.text.splitlines(keepends=True)


def test_export_of_the_whole_trail_is_verified_by_its_lines(
    service: RunningService, kim: Caller, key: SigningKey
) -> None:
    """It has every sealed row with its exact body, and a manifest with the signed root."""
    *lines, last = exported(kim)
    manifest = json.loads(last)["manifest"]
    event = service.services.trail.tables.event.c
    with service.services.database.reading() as session:
        rows = session.scalars(select(event.body).order_by(event.id))
        bodies = [body for body in map(json.loads, rows) if body["action"] != "note.late"]
    assert bodies == [json.loads(line)["body"] for line in lines]
    assert (len(bodies), 0, len(bodies) - 1) == (
        manifest["count"],
        manifest["first_seq"],
        manifest["last_seq"],
    )
    assert manifest["root"] == manifest["checkpoint"]["root"]
    assert None is check_export([*lines, last], [key.public])


def test_export_of_a_search_has_its_events_only(kim: Caller, key: SigningKey) -> None:
    """The filters are those of the search; none is a valid export, too."""
    for query, expected in (({"action": "note.*"}, len(FORMULAS)), ({"action": "a.b"}, 0)):
        lines = exported(kim, **query)
        assert (expected, None) == (
            json.loads(lines[-1])["manifest"]["count"],
            check_export(lines, [key.public]),
        )


def test_changed_export_is_noticed(kim: Caller, key: SigningKey) -> None:
    """A line that is changed, missing, added, moved or cut off, and another manifest."""
    lines = exported(kim)
    count = len(lines) - 1
    changed = lines[1].replace('"success"', '"failure"')
    forged = {
        "body": [lines[0], changed, *lines[2:]],
        "missing": [*lines[:1], *lines[2:]],
        "added": [lines[0], *lines],
        "moved": [lines[1], lines[0], *lines[2:]],
        "cut off": lines[:-1],
        "cut within a line": [*lines[:3], lines[3][:20]],
        "after the manifest": [*lines, lines[0]],
        "count": [*lines[:-1], lines[-1].replace(f'"count":{count}', f'"count":{count + 1}')],
        "no JSON": ["x", *lines],
        "nothing": [],
    }
    assert changed != lines[1]
    found = {name: check_export(one, [key.public]) for name, one in forged.items()}
    assert [] == [name for name, said in found.items() if said is None]
    stranger = SigningKey(name=key.name, seed=bytes(32))
    assert check_export(lines, [stranger.public]) is not None


def test_tampered_row_is_exported_as_it_is(
    service: RunningService, kim: Caller, key: SigningKey
) -> None:
    """The export is complete and does not stop there; the root differs from the signed one."""
    update = "UPDATE audit_event SET body = '{no JSON' WHERE action = 'user.create'"
    with service.services.database.engine.begin() as connection:
        take_guards_away(connection)
        connection.execute(text(update))
    lines = exported(kim)
    assert "{no JSON" in [json.loads(line).get("body") for line in lines]
    assert "the lines are not those of the checkpoint" == check_export(lines, [key.public])
    assert lines[:-1]
    assert 200 == kim("GET", PATH, query_string={"format": "csv"}).status_code


def test_cells_of_a_csv_export_are_no_formulas(kim: Caller) -> None:
    """A cell that begins like a formula has an apostrophe before it; no other has."""
    response = kim("GET", PATH, query_string={"format": "csv", "action": "note.made"})
    assert "text/csv" == response.mimetype
    assert 'filename="audit-events.csv"' in response.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    expected = [f"'{one}" if one[0] in "=+-@\t\r" else one for one in FORMULAS]
    assert expected == [row["reason"] for row in rows]
    assert {"note.made"} == {row["action"] for row in rows}


def test_export_before_the_first_checkpoint_is_refused(service: RunningService) -> None:
    """With 409 and Retry-After, and not with an empty file."""
    answers: list[Any] = [
        service.caller()("GET", PATH, query_string={"format": one}) for one in ("ndjson", "csv")
    ]
    assert [409, 409] == [problem(answer)["status"] for answer in answers]
    assert 400 == problem(service.caller()("GET", f"{PATH}?format=xml"))["status"]


FILL = """
INSERT INTO audit_event (event_id, occurred_at, actor_type, action, outcome, tx_id, body)
SELECT gen_random_uuid(), now(), 'user', 'note.made', 'success', 'tx', body
FROM audit_event, generate_series(1, 2000) WHERE action = 'note.made'
"""


def test_export_takes_memory_for_a_page_only(postgresql_service: RunningService) -> None:
    """2,000 events take a fraction of their size, as they are sent."""
    service, kim = postgresql_service, postgresql_service.caller()
    key = SigningKey(name="auditspan/test", seed=bytes(32))
    kim("POST", "/v1/audit-events", json={"action": "note.made", "metadata": {"note": "x" * 4000}})
    with service.services.database.engine.begin() as connection:
        connection.execute(text(FILL))
    seal(service, key)
    client = service.app.test_client()
    response = client.get(PATH, headers={"Authorization": f"Bearer {kim.key}"}, buffered=False)
    tracemalloc.start()
    size = sum(map(len, response.iter_encoded()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (True, True) == (size > 8e6, peak < 3e6), (size, peak)
