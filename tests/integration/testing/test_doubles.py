"""Ids, clocks and telemetry that tests hold in their hand."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry import trace
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from auditspan import AuditConfigError, AuditTrail, audit_context
from auditspan.testing import (
    FixedClock,
    SequentialIds,
    SteppingClock,
    captured,
    telemetry_errors_raised,
)
from integration.testing.notes import KIM, Base, words, write
from integration.trust.world import ours


def test_ids_count() -> None:
    """They are version 7 UUIDs in ascending order, of each its own, also between threads."""
    ids = SequentialIds()
    with ThreadPoolExecutor(8) as pool:
        drawn = [job.result() for job in [pool.submit(ids) for _ in range(500)]]
    assert [SequentialIds.id(number) for number in range(1, 501)] == sorted(drawn)
    assert {(7, uuid.RFC_4122)} == {
        (uuid.UUID(one).version, uuid.UUID(one).variant) for one in drawn
    }
    assert {str(uuid.UUID(one)) for one in drawn} == set(drawn)
    assert "019b76da-a800-7000-8000-000000000001" == SequentialIds.id(1)
    ids.restart()
    assert SequentialIds.id(1) == ids()


def test_clock_is_fixed_or_ticks() -> None:
    """The one until it is moved, the other by a step at each look."""
    fixed = FixedClock()
    assert datetime(2026, 1, 1, tzinfo=UTC) == fixed() == fixed()
    fixed.advance(timedelta(hours=1))
    assert datetime(2026, 1, 1, 1, tzinfo=UTC) == fixed()
    start = datetime(2026, 5, 1, tzinfo=UTC)
    stepping = SteppingClock(start, step=timedelta(minutes=1))
    assert [start + timedelta(minutes=one) for one in range(3)] == [stepping() for _ in range(3)]


@pytest.mark.parametrize("make", [FixedClock, SteppingClock])
def test_a_clock_has_a_zone(make: Callable[[datetime], object]) -> None:
    """A time without a zone is refused where the clock is made."""
    with pytest.raises(AuditConfigError, match="must have a time zone"):
        make(datetime(2026, 1, 1))  # noqa: DTZ001 (which is the point)


def test_ids_and_times_are_those_that_were_given(engine: Engine) -> None:
    """A trail with both writes the same rows in every run."""
    sessions = sessionmaker(engine)
    trail = AuditTrail(
        sessions, metadata=Base.metadata, new_id=SequentialIds(), clock=SteppingClock()
    )
    Base.metadata.create_all(engine)
    with audit_context(actor=KIM), captured(trail, engine) as events:
        write(sessions, "a")
        write(sessions, "b")
        write(sessions, "c", "d")
    ids = sorted({SequentialIds.id(number) for number in range(1, 8)})
    assert ids == sorted({event["tx_id"] for event in events} | {e["event_id"] for e in events})
    assert sorted(event["event_id"] for event in events) == [e["event_id"] for e in events]
    seconds = [event["occurred_at"].removeprefix("2026-01-01T00:00:") for event in events]
    assert seconds == ["00.000000Z", "01.000000Z", "02.000000Z", "02.000000Z"]


class Broken(trace.NonRecordingSpan):
    """A span that takes no events."""

    def is_recording(self) -> bool:
        return True

    def add_event(self, *_args: Any, **_kwargs: Any) -> None:
        raise ZeroDivisionError


def test_a_telemetry_error_is_raised_on_request_only(
    trail: AuditTrail,
    sessions: sessionmaker[Session],
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Inside the block the caller gets it, outside it is logged; the change is kept in both."""
    span = Broken(trace.INVALID_SPAN_CONTEXT)
    with trace.use_span(span), captured(trail, engine) as events:
        with telemetry_errors_raised(), pytest.raises(ZeroDivisionError):
            write(sessions, "a")
        assert [] == ours(caplog)
        with caplog.at_level(logging.ERROR):
            write(sessions, "b")
    assert ["a", "b"] == words(events)
    assert 1 == len(ours(caplog))
