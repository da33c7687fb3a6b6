"""What must hold after whatever was done."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from sqlalchemy import Connection, text

from auditspan.storage import EventFilter, audit_tables, find_events
from auditspan_service.models import Base
from faults.load import Change, Load
from faults.place import Place, wait_for
from support.replay import Kind, assert_replays

ARRIVES_SECONDS = 180
_USERS = Kind(table=Base.metadata.tables["users"], hidden=frozenset({"updated_at", "version"}))
_SEQUENCE = text(
    "SELECT count(*), min(seq), max(seq), count(DISTINCT row_id),"
    " (SELECT count(*) FROM audit_event) FROM audit_leaf"
)
_TOKENS = {"user.create": "username", "user.update": "full_name", "user.delete": "username"}


def require_whole(place: Place, *loads: Load) -> float:
    """Every promise was kept, and everything has arrived; how many seconds that took."""
    for load in loads:
        assert [] == load.wrong[:3], f"{len(load.wrong)} wrong answers: {load.statuses}"
        assert load.made, load.statuses
    took = require_delivered(place)
    with place.superuser.connect() as connection:
        bodies = _bodies(connection)
        for load in loads:
            _require_rows(load, Counter(map(_change, bodies)))
        assert_replays(connection, map(json.dumps, bodies), {"user": _USERS})
        count, first, last, rows, events = connection.execute(_SEQUENCE).one()
        assert (0, events - 1, events, events) == (first, last, count, rows)
    require_sealed(place)
    return took


def require_delivered(place: Place) -> float:
    """Every row is in the collector's files, with its own body; how many seconds that took."""

    def arrived() -> bool:
        report = place.command("reconcile", "--json", "--files", files(place))
        assert ([], []) == (report["unknown"], report["different"])
        return bool(report["ok"])

    return wait_for(arrived, ARRIVES_SECONDS, "something is missing in the collector's files")


def require_sealed(place: Place) -> None:
    """`verify` has looked at every row, and finds nothing; neither does the witness."""
    report = place.command("verify", "--json", "--witness", files(place))
    assert ([], True) == (report["findings"][:5], report["ok"])
    assert report["rows"] == report["tree_size"] > 0


def files(place: Place) -> Path:
    """The collector's audit files."""
    return place.collector.audit_files


def _bodies(connection: Connection) -> list[dict[str, object]]:
    """The bodies with their erasable values, oldest first."""
    tables = audit_tables(Base.metadata)
    found = find_events(connection, tables, EventFilter(), after=0, limit=1_000_000)
    return [event.members() for event in found]


def _change(body: dict[str, object]) -> Change:
    """What a row says was done, as a client remembers it."""
    action, changes = str(body["action"]), body["changes"]
    assert isinstance(changes, dict)
    side = "old" if action == "user.delete" else "new"
    return Change(action, str(changes.get(_TOKENS.get(action, ""), {}).get(side)))


def _require_rows(load: Load, rows: Counter[Change]) -> None:
    """One row for what was acknowledged, none for what was refused, at most one otherwise."""
    assert {} == {change: rows[change] for change in load.made if rows[change] != 1}
    assert {} == {change: rows[change] for change in load.refused if rows[change] != 0}
    assert {} == {change: rows[change] for change in load.in_doubt if rows[change] > 1}
