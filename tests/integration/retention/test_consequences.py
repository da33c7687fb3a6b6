"""What a purge means for new sinks, other programs, the collector's files and auditors."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from auditspan import Actor, EventConflictError, ForeignEvent
from auditspan.delivery import FileSink, Relay
from auditspan.delivery.sinks import AUDIT_FILE
from auditspan.storage import EventFilter, find_events, snapshot
from auditspan.telemetry.otlp import read_logs
from integration.retention.shop import KEY, Shop

SCRIPT = Path(__file__).parents[3] / "docs" / "verify_independently.py"
ID = "0198c0de-0000-7000-8000-000000000001"


def test_new_sink_starts_behind_the_purge(
    shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets every row that is left and no checkpoint of purged rows; the log says so."""
    for number in range(1, 5):
        shop.add(number)
        shop.seal()
    shop.settle()
    shop.purge()
    sink = FileSink(tmp_path / "new")
    sink.name = "new"
    with caplog.at_level(logging.WARNING), shop.engine.connect() as connection:
        Relay(shop.engine, shop.tables, sink).deliver(connection)
    sink.close()
    assert "the sink new starts at sequence number 4: earlier rows were purged" in caplog.text
    records = list(read_logs(tmp_path / "new"))
    seqs = {numbers(one.attributes, "audit.sequence.number") for one in records} - {None}
    sizes = {numbers(one.attributes, "audit.tree.size") for one in records} - {None}
    assert set(range(4, shop.leaves())) == seqs
    assert set() == sizes & set(range(5))


def numbers(attributes: Mapping[str, object], name: str) -> int | None:
    """The number in an attribute, if the record has it."""
    found = attributes.get(name)
    return found if isinstance(found, int) else None


def test_id_of_a_purged_event_is_not_recorded_again(shop: Shop) -> None:
    """Its content can no longer be compared; a new id is recorded."""
    event = ForeignEvent(action="order.paid", event_id=ID, actor=Actor.user(1))
    producer = Actor.user("billing")
    assert shop.trail.ingest([event], producer=producer)[0].is_new
    assert not shop.trail.ingest([event], producer=producer)[0].is_new
    shop.settle()
    shop.purge()
    with pytest.raises(EventConflictError, match="removed by retention") as refused:
        shop.trail.ingest([ForeignEvent(action="order.paid"), event], producer=producer)
    assert 1 == refused.value.index
    shop.settle()
    shop.require_clean()


def test_independent_verifier_agrees_after_a_purge(shop: Shop, tmp_path: Path) -> None:
    """The collector's files are whole, and the events that are left match them."""
    shop.add(1, 2, 3)
    shop.settle()
    shop.purge()
    shop.price(1, 5)
    shop.settle()
    with snapshot(shop.engine) as connection:
        events = find_events(connection, shop.tables, EventFilter(), after=0, limit=1000)
    path = tmp_path / "events.jsonl"
    path.write_text("".join(f"{json.dumps(one.resource())}\n" for one in events), encoding="utf-8")
    key = ("--public-key", KEY.public.vkey)
    files = (str(shop.files / AUDIT_FILE), "--export", str(path))
    command = [sys.executable, "-I", str(SCRIPT), *key, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (0, True) == (done.returncode, "as signed" in done.stdout), done.stdout + done.stderr
