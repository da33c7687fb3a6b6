"""A delivery cursor that cannot be true is not believed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, insert, select, text

from auditspan.delivery.backlog import read_backlog
from auditspan.delivery.sinks import FileSink
from auditspan.storage.event_filter import EventFilter
from auditspan.storage.events import find_events
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp.files import read_logs
from integration.trust.world import Trail, ours
from support.relaying import relaying, wait_for

SENT = 16
AHEAD = "UPDATE audit_delivery SET sent_seq = 1000000"
BOTH_AHEAD = f"{AHEAD}, safe_seq = 1000000"
CHANGES = pytest.mark.parametrize("change", [AHEAD, BOTH_AHEAD], ids=["sent", "sent and safe"])


def change_cursor(trail: Trail, change: str) -> None:
    """Change the cursor as an owner of the tables can."""
    with trail.engine.begin() as connection:
        connection.execute(text(change))


def numbers(trail: Trail) -> set[object]:
    """The sequence numbers in the collector's file."""
    found = (entry.attributes.get(semconv.SEQUENCE_NUMBER) for entry in read_logs(trail.folder))
    return {number for number in found if number is not None}


def shown_as_delivered(connection: Connection, trail: Trail) -> set[int | None]:
    """The sequence numbers that readers of the trail see as delivered."""
    events = find_events(connection, trail.tables, EventFilter(), limit=100)
    return {event.seq for event in events if event.delivered}


@CHANGES
def test_rows_that_wait_behind_a_cursor_ahead_are_sent(
    delivered: Trail, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The next relay sends every row, and logs one error with the name of the sink."""
    delivered.write(3)
    delivered.seal()
    change_cursor(delivered, change)
    with caplog.at_level(logging.ERROR, logger="auditspan.delivery.relay"):
        delivered.deliver()
    assert set(range(SENT + 3)) == numbers(delivered)
    assert ["file" in one.getMessage() for one in ours(caplog)] == [True]
    assert [] == delivered.report().findings


@CHANGES
def test_rows_that_were_never_sent_are_not_shown_as_delivered(
    delivered: Trail, change: str
) -> None:
    """Neither to readers of the trail nor in the backlog of the sink."""
    delivered.write(3)
    delivered.seal()
    change_cursor(delivered, change)
    with delivered.engine.connect() as connection:
        unsent = set(range(SENT, SENT + 3))
        assert set() == unsent & shown_as_delivered(connection, delivered)
        waiting = read_backlog(connection, delivered.tables, ["file"]).undelivered["file"]
    assert waiting.rows >= len(unsent)


def test_a_true_cursor_shows_exactly_what_was_sent(delivered: Trail) -> None:
    """Rows that were sent are delivered, and those behind them are not."""
    delivered.write(3)
    delivered.seal()
    with delivered.engine.connect() as connection:
        assert set(range(SENT)) == shown_as_delivered(connection, delivered)


@CHANGES
def test_a_cursor_ahead_is_a_finding(delivered: Trail, change: str) -> None:
    """The verifier names it once, with or without the witness."""
    change_cursor(delivered, change)
    for witnessed in (False, True):
        found = delivered.report(witnessed=witnessed).findings
        assert ["delivery"] == [one.kind for one in found]


@pytest.mark.parametrize("delivered", ["sqlite"], indirect=True)
def test_a_cursor_that_is_not_a_number_stops_nothing(delivered: Trail) -> None:
    """SQLite stores any text as a cursor: it is a finding, and everything is sent."""
    change_cursor(delivered, "UPDATE audit_delivery SET sent_seq = 'x', safe_seq = 'x'")
    assert ["delivery"] == [one.kind for one in delivered.report().findings]
    delivered.grow(1)
    assert set(range(SENT + 1)) == numbers(delivered)


def test_an_empty_trail_corrects_its_cursor(fresh: Trail) -> None:
    """Also where there is nothing to send, the cursor is put back."""
    change_cursor(fresh, "UPDATE audit_delivery SET sent_seq = 9, safe_seq = 9")
    fresh.deliver()
    delivery = fresh.tables.delivery.c
    with fresh.engine.connect() as connection:
        stored = connection.execute(select(delivery.sent_seq, delivery.safe_seq)).one()
    assert (-1, -1) == tuple(stored)


def test_a_running_relay_sends_what_takes_the_place_of_lost_rows(delivered: Trail) -> None:
    """If the newest rows are removed under a running relay, later ones are still sent."""
    with relaying(delivered.engine, delivered.tables, FileSink(delivered.folder)):
        wait_for(lambda: len(list(read_logs(delivered.folder))) >= 2 * (SENT + 4))
        with delivered.attack() as attack:
            attack.cut(10)
            attack.connection.commit()
        lost = len(list(read_logs(delivered.folder)))
        delivered.write(2)
        delivered.seal()
        wait_for(lambda: len(list(read_logs(delivered.folder))) >= lost + 2)


def test_the_cursor_of_one_sink_concerns_no_other(delivered: Trail) -> None:
    """A sink without a cursor waits for every row."""
    change_cursor(delivered, BOTH_AHEAD)
    with delivered.engine.connect() as connection:
        other = read_backlog(connection, delivered.tables, ["other"]).undelivered["other"]
    assert SENT == other.rows


def test_a_cursor_in_the_row_of_a_lease_is_not_believed(delivered: Trail) -> None:
    """It shows no row as delivered, and is not a finding."""
    delivered.write(3)
    delivered.seal()
    lease = {"sink": "lease:auditspan.relay.file -", "sent_seq": SENT + 1, "safe_seq": SENT + 1}
    with delivered.engine.begin() as connection:
        delivery = delivered.tables.delivery
        connection.execute(insert(delivery), {**lease, "updated_at": datetime.now(UTC)})
        assert set(range(SENT)) == shown_as_delivered(connection, delivered)
    assert [] == delivered.report().findings
