"""Receivers that answer oddly: what counts as delivered in each mode, and how often it is sent."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from auditspan.delivery import Acknowledgement, OtlpSink
from auditspan.delivery.backoff import LONGEST_ASKED
from auditspan.delivery.log_record import ExportRecord, log_record
from auditspan.delivery.otlp_sink import MOST_COPIES
from auditspan.errors import SinkError, SinkUnavailableError
from auditspan.format import SealedRow
from integration.sinks.faulty import GOOD, PROTOBUF, Answer, faulty_collector, partial
from integration.trust.world import Trail, opened, record
from support.relaying import relaying, wait_for

BODY = record(0)
RECORDS = [log_record(SealedRow(0, 1, BODY.event_id, BODY.occurred_at, BODY.body(), None))]
JSON = {"Content-Type": "application/json"}
OK, UNAVAILABLE, REJECTED = "acknowledged", "sink-unavailable", "sink-rejected"
REFUSING = json.dumps({"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "no"}})
#: What each answer means in the modes strict and http.
ANSWERS: dict[str, tuple[Answer, str, str]] = {
    "200, parsed": (GOOD, OK, OK),
    "200, type with parameters": (
        Answer(headers={"Content-Type": f"{PROTOBUF};v=1"}),
        OK,
        OK,
    ),
    "200 without a content type": (Answer(headers={}), UNAVAILABLE, OK),
    "200, JSON": (Answer(body=b"{}", headers=JSON), UNAVAILABLE, OK),
    "200, JSON that does not parse": (Answer(body=b"{", headers=JSON), UNAVAILABLE, OK),
    "200, HTML": (Answer(body=b"<p>", headers={"Content-Type": "text/html"}), UNAVAILABLE, OK),
    "200, garbage": (Answer(body=bytes(range(255, 200, -1))), UNAVAILABLE, OK),
    "202, parsed": (Answer(status=202), UNAVAILABLE, OK),
    "204": (Answer(status=204, headers={}), UNAVAILABLE, OK),
    "200, some rejected": (partial(1), REJECTED, REJECTED),
    "200, JSON, some rejected": (
        Answer(body=REFUSING.encode(), headers=JSON),
        REJECTED,
        REJECTED,
    ),
    "307": (Answer(status=307, headers={"Location": "/x"}), UNAVAILABLE, UNAVAILABLE),
    "400": (Answer(status=400), REJECTED, REJECTED),
    "401": (Answer(status=401), UNAVAILABLE, UNAVAILABLE),
    "500": (Answer(status=500), UNAVAILABLE, UNAVAILABLE),
    "503": (Answer(status=503), UNAVAILABLE, UNAVAILABLE),
}


def outcome(url: str, mode: Acknowledgement, records: Sequence[ExportRecord]) -> str:
    """Return what one delivery came to."""
    sink = OtlpSink(url, acknowledgement=mode)
    try:
        sink.send(records)
    except SinkError as error:
        return error.code
    finally:
        sink.close()
    return OK


def test_each_answer_means_what_its_mode_says() -> None:
    """Every answer is an acknowledgement, a refusal or neither, by the mode of the destination."""
    with faulty_collector(lambda _: GOOD) as collector:
        found = {}
        for name, (answer, *_) in ANSWERS.items():
            collector.rule = lambda _, answer=answer: answer  # type: ignore[misc]
            modes: tuple[Acknowledgement, ...] = ("strict", "http")
            found[name] = tuple(outcome(collector.url, mode, RECORDS) for mode in modes)
    assert {name: modes for name, (_, *modes) in ANSWERS.items()} == {
        name: [*modes] for name, modes in found.items()
    }


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    """Seven sealed rows."""
    with opened(f"sqlite:///{tmp_path / 'trail.db'}", tmp_path / "collector") as made:
        made.write(7)
        made.seal()
        yield made


#: A log backend that stores everything and answers nothing that a collector would.
SPEECHLESS = Answer(headers={}, takes=True)


def test_receiver_without_valid_answers_gets_three_copies(
    trail: Trail, caplog: pytest.LogCaptureFixture
) -> None:
    """Then only empty requests are sent, the log names the mode, and a valid answer ends it."""
    with (
        caplog.at_level(logging.WARNING, "auditspan"),
        faulty_collector(lambda _: SPEECHLESS) as collector,
        relaying(trail.engine, trail.tables, OtlpSink(collector.url)),
    ):
        wait_for(lambda: len(collector.requests) >= MOST_COPIES + 2)
        assert {MOST_COPIES} == set(Counter(collector.taken).values())
        collector.rule = lambda _: GOOD
        wait_for(lambda: len(collector.taken) == 7 * (MOST_COPIES + 1))
    last = caplog.messages[-1]
    assert "no valid answer to 3 deliveries" in last
    assert "`acknowledgement` is `strict`" in last


def test_receiver_that_answers_only_empty_requests_gets_a_copy_in_five_minutes() -> None:
    """A valid answer to an empty request is followed by one more copy, and then a long pause."""
    with faulty_collector(lambda ids: SPEECHLESS if ids else GOOD) as collector:
        sink = OtlpSink(collector.url)
        pauses = []
        for _ in range(MOST_COPIES + 2):
            with pytest.raises(SinkUnavailableError) as refusal:
                sink.send(RECORDS)
            pauses.append(refusal.value.retry_after)
        sink.close()
    assert [None] * MOST_COPIES + [LONGEST_ASKED] * 2 == pauses


def test_backend_with_mode_http_gets_each_record_once(trail: Trail) -> None:
    """Any 2xx acknowledges in the mode http."""
    with (
        faulty_collector(lambda _: SPEECHLESS) as collector,
        relaying(trail.engine, trail.tables, OtlpSink(collector.url, acknowledgement="http")),
    ):
        wait_for(lambda: len(collector.taken) >= 7)
    assert {1} == set(Counter(collector.taken).values())


def test_answers_that_repeat_a_header_are_redacted() -> None:
    """The value of a header is a secret, also in what a receiver says about it."""
    said = b"bad token hunter2-abc in 'Bearer hunter2-abc'"
    with faulty_collector(lambda _: Answer(status=401, body=said)) as collector:
        sink = OtlpSink(collector.url, headers={"Authorization": "Bearer hunter2-abc"})
        with pytest.raises(SinkUnavailableError) as refusal:
            sink.send([])
        sink.close()
    assert (False, True) == (
        "hunter2" in refusal.value.message,
        "check the headers" in refusal.value.message,
    )
