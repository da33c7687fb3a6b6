"""Identifiers: UUID version 7 as RFC 9562 has it."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditspan.capture.recorder import Recorder, fresh_id
from auditspan.errors import AuditConfigError
from auditspan.format.ids import RANDOM_BYTES, uuid7
from auditspan.format.record_parts import Service

MILLIS = st.integers(0, 2**48 - 1)
RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@given(MILLIS, RANDOM)
def test_version_variant_and_time_stand_where_the_rfc_has_them(millis: int, random: bytes) -> None:
    """Version 7, the RFC's variant, and the milliseconds in the first 48 bits."""
    text = uuid7(millis, random)
    made = uuid.UUID(text)
    assert (7, uuid.RFC_4122, millis) == (made.version, made.variant, made.int >> 80)
    assert str(made) == text


def test_the_example_of_the_rfc_comes_out() -> None:
    """RFC 9562 appendix A.6: the same time and random bits give the same id."""
    random = bytes.fromhex("7cc398c4dc0c0c07398f")
    assert uuid7(0x017F22E279B0, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(st.tuples(MILLIS, RANDOM), st.tuples(MILLIS, RANDOM))
def test_ids_of_later_milliseconds_sort_after_earlier_ones(
    one: tuple[int, bytes], other: tuple[int, bytes]
) -> None:
    """Ids are ordered by their milliseconds, as text and as bytes."""
    earlier, later = sorted((one, other))
    if earlier[0] < later[0]:
        assert uuid7(*earlier) < uuid7(*later)
        assert uuid.UUID(uuid7(*earlier)).bytes < uuid.UUID(uuid7(*later)).bytes


def test_the_random_bits_are_all_kept() -> None:
    """74 of the 80 random bits make a difference: all that version and variant leave."""
    flipped = {uuid7(0, (1 << bit).to_bytes(RANDOM_BYTES, "big")) for bit in range(80)}
    assert len(flipped - {uuid7(0, bytes(RANDOM_BYTES))}) == 74


@pytest.mark.parametrize("millis", [-1, 2**48])
def test_a_time_that_does_not_fit_is_refused(millis: int) -> None:
    """A time outside 48 bits is an error, not an id of another time."""
    with pytest.raises((ValueError, OverflowError)):
        uuid7(millis, bytes(RANDOM_BYTES))


@pytest.mark.parametrize("now", [1_700_000_000_123_456_789.0, -(10**18), 0.0, 10**30])
def test_fresh_id_accepts_a_frozen_clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Libraries that freeze time return floats, and times that no UUID can hold."""
    monkeypatch.setattr(time, "time_ns", lambda: now)
    assert 7 == uuid.UUID(fresh_id()).version


@pytest.mark.parametrize("now", [1_700_000_000.5, datetime(2026, 1, 1), None], ids=repr)  # noqa: DTZ001 (naive)
def test_clock_without_aware_times_is_refused(now: object) -> None:
    """A clock that returns floats or naive times is refused with the form that it must have."""
    clock: Any = lambda: now  # noqa: E731
    recorder = Recorder(service=Service(name="x"), clock=clock, new_id=fresh_id, strict=False)
    with pytest.raises(AuditConfigError, match=r"datetime\.now\(UTC\)"):
        recorder.record("user.update", tx_id="tx")
