"""Relays that crash again and again deliver a backlog, and lose nothing with the collector."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from auditspan.delivery.batch_reader import MAX_RECORDS
from auditspan.delivery.cursors import Cursors, load_cursors
from auditspan.delivery.log_record import ExportRecord
from auditspan.delivery.progress import FIRST_REPEATED, SAFE_AFTER
from auditspan.delivery.relay import Relay
from auditspan.delivery.sinks import AUDIT_FILE, FileSink
from auditspan.errors import SinkUnavailableError
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp.files import read_logs
from integration.trust.conftest import DATABASES
from integration.trust.world import Trail, opened
from support.relaying import relaying, wait_for
from support.templates import Template

BACKLOG = 4000


class FatalSink(FileSink):
    """Writes batches, and ends the relay instead of acknowledging the last of them."""

    def __init__(self, directory: Path, batches: int) -> None:
        super().__init__(directory)
        self._left = batches

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Write the batch; crash where it is the last."""
        super().send(records)
        self._left -= 1
        if self._left <= 0:
            raise KeyboardInterrupt


class WhenIdle(threading.Event):
    """Ends the relay as soon as it has nothing to send."""

    def wait(self, timeout: float | None = None) -> bool:
        """Crash if the relay would really wait."""
        if timeout:
            raise KeyboardInterrupt
        return self.is_set()


def crash(trail: Trail, batches: int) -> None:
    """A relay that ends, without saving anything, after so many batches or when it has no more.

    By its clock each batch takes less than a second, however slow the machine is.
    """
    sink, ticks = FatalSink(trail.folder, batches), itertools.count(step=0.1)
    with pytest.raises(KeyboardInterrupt):
        Relay(trail.engine, trail.tables, sink, clock=lambda: next(ticks)).run(WhenIdle())
    sink.close()


def copies(trail: Trail) -> Counter[int]:
    """Return how often each sequence number is in the collector's file."""
    entries = read_logs(trail.folder) if (trail.folder / AUDIT_FILE).exists() else ()
    found = (entry.attributes.get(semconv.SEQUENCE_NUMBER) for entry in entries)
    return Counter(int(str(number)) for number in found if number is not None)


def cursors(trail: Trail) -> Cursors:
    """The stored cursors of the file sink."""
    with trail.engine.connect() as connection:
        return load_cursors(connection, trail.tables, "file")


def running_clock(factor: float) -> Callable[[], float]:
    """A clock that runs so many times as fast as it should."""
    return lambda: time.monotonic() * factor


@contextmanager
def steady(trail: Trail) -> Iterator[None]:
    """A relay that does not crash, with a clock that is ten times too fast."""
    with relaying(trail.engine, trail.tables, FileSink(trail.folder), running_clock(10)):
        yield


def crash_until_sent(trail: Trail, batches: int) -> int:
    """Let relays crash until every row is acknowledged; how many did."""
    most = 2 * BACKLOG // MAX_RECORDS
    for crashes in range(most):
        if cursors(trail).sent == BACKLOG - 1:
            return crashes
        crash(trail, batches)
    return most


def _write(url: str, folder: Path) -> None:
    with opened(url, folder / "collector") as trail:
        trail.write(BACKLOG)
        trail.seal(batch=1000)


def _write_and_send(url: str, folder: Path) -> None:
    _write(url, folder)
    with opened(url, folder / "collector") as trail:
        crash_until_sent(trail, 4)


_WRITTEN, _SENT = Template(_write), Template(_write_and_send)


@contextmanager
def _copied(template: Template, kind: str, folder: Path) -> Iterator[Trail]:
    with template.copied(kind, folder) as url, opened(url, folder / "collector") as trail:
        yield trail


@pytest.fixture(params=DATABASES)
def backlog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trail]:
    """A trail with some thousand rows that no relay has sent."""
    with _copied(_WRITTEN, request.param, tmp_path) as trail:
        yield trail


@pytest.fixture(params=DATABASES)
def sent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trail]:
    """The same rows, which relays have sent that crashed after four batches."""
    with _copied(_SENT, request.param, tmp_path) as trail:
        yield trail


@pytest.mark.parametrize("batches", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_relays_that_crash_deliver_a_backlog(backlog: Trail, batches: int) -> None:
    """Every row arrives, and there are no more copies than rows."""
    crash_until_sent(backlog, batches)
    found = copies(backlog)
    assert list(range(BACKLOG)) == sorted(found)
    assert found.total() <= 2 * BACKLOG


def test_relays_that_crash_without_a_backlog_send_few_copies(sent: Trail) -> None:
    """Each of them repeats the first of the unconfirmed rows and nothing else."""
    before = copies(sent).total()
    for _ in range(5):
        crash(sent, 1)
    assert 5 * FIRST_REPEATED == copies(sent).total() - before


def test_records_lost_between_two_relays_are_sent_again(sent: Trail) -> None:
    """Rows whose acknowledgement no relay outlived by five seconds arrive once more."""
    (sent.folder / AUDIT_FILE).unlink()
    with steady(sent):
        wait_for(lambda: cursors(sent).safe == BACKLOG - 1)
    assert list(range(BACKLOG)) == sorted(copies(sent))


def test_records_lost_before_a_transport_error_are_sent_again(sent: Trail) -> None:
    """A relay that meets the error goes back to the safe cursor, over what others sent, too."""
    (sent.folder / AUDIT_FILE).unlink()
    sink = _Interrupted(sent.folder)
    with relaying(sent.engine, sent.tables, sink):
        wait_for(lambda: len(sink.written) == BACKLOG)
    assert list(range(BACKLOG)) == sorted(copies(sent))
    assert cursors(sent).sent == BACKLOG - 1


class _Interrupted(FileSink):
    """Is not there for the first batch; remembers the numbers of the rows that it wrote."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._calls = itertools.count()
        self.written: set[object] = set()

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Fail once."""
        if next(self._calls) == 0:
            raise SinkUnavailableError("the connection was reset")
        super().send(records)
        numbers = (record.attributes.get(semconv.SEQUENCE_NUMBER) for record in records)
        self.written |= {number for number in numbers if number is not None}


def test_confirmed_records_are_not_sent_again(sent: Trail) -> None:
    """The safe cursor reaches the end once a relay has lived long enough."""
    with steady(sent):
        wait_for(lambda: cursors(sent).safe == BACKLOG - 1)
    before = copies(sent)
    with steady(sent):
        time.sleep(2 * SAFE_AFTER / 10)
    assert before == copies(sent)
