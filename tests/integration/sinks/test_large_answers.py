"""Answers that are large, or unpack to something large, cost the senders no memory."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from opentelemetry.sdk.metrics.export import MetricsData

from auditspan.delivery.answers import MAX_BYTES
from auditspan.delivery.otlp_sink import OtlpSink
from auditspan.errors import SinkRejectedError, SinkUnavailableError
from auditspan_service.telemetry.otlp_exporters import otlp_exporter
from integration.sinks.faulty import PROTOBUF, Answer, faulty_collector, partial

MIB = 1024 * 1024
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def packed(body: bytes, encoding: str, status: int = 200) -> Answer:
    """An answer with this body, packed."""
    headers = {"Content-Type": PROTOBUF, "Content-Encoding": encoding}
    return Answer(status=status, body=PACK[encoding](body), headers=headers)


def send(answer: Answer) -> None:
    """One empty batch to a collector that answers so."""
    with faulty_collector(lambda _: answer) as collector:
        sink = OtlpSink(collector.url)
        try:
            sink.send([])
        finally:
            sink.close()


def peak(action: Callable[[], object]) -> int:
    """The largest memory that Python had during this."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(answer: Answer) -> None:
    """The answer is no acknowledgement."""
    with pytest.raises(SinkUnavailableError):
        send(answer)


@pytest.mark.parametrize("encoding", PACK)
@pytest.mark.parametrize("status", [200, 503])
def test_small_answer_that_unpacks_to_much_is_not_unpacked(encoding: str, status: int) -> None:
    """A packed answer of 64 MiB is not acknowledged, and little of it is unpacked."""
    answer = packed(bytes(64 * MIB), encoding, status)
    assert peak(lambda: refused(answer)) < 8 * MIB


def test_answer_above_the_limit_is_not_an_acknowledgement() -> None:
    """An answer that is larger than the limit is not read to its end."""
    answer = Answer(body=bytes(32 * MIB))
    assert peak(lambda: refused(answer)) < 8 * MIB


@pytest.mark.parametrize("encoding", PACK)
def test_packed_acknowledgement_is_read(encoding: str) -> None:
    """A packed partial success is understood as one."""
    with pytest.raises(SinkRejectedError, match="no room for it"):
        send(packed(partial(1).body, encoding))


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
def test_undecodable_answer_is_not_an_acknowledgement(encoding: str) -> None:
    """Garbage under a content encoding is not taken for an empty acknowledgement."""
    headers = {"Content-Type": PROTOBUF, "Content-Encoding": encoding}
    refused(Answer(body=b"garbage", headers=headers))


def test_torn_gzip_is_not_an_acknowledgement() -> None:
    """A packed answer that ends early is not taken for a whole one."""
    whole = packed(partial(1).body, "gzip")
    refused(Answer(body=whole.body[:-9], headers=whole.headers))


def test_answer_at_the_limit_is_rejected_with_its_text() -> None:
    """A long refusal is a refusal, of which the beginning is told."""
    with pytest.raises(SinkRejectedError, match="xxx"):
        send(Answer(status=400, body=b"x" * (MAX_BYTES + 1)))


def test_telemetry_exporters_do_not_unpack_much_either() -> None:
    """An export of metrics reads no more of an answer."""
    answer = packed(bytes(64 * MIB), "gzip")

    def export(url: str) -> None:
        exporter = otlp_exporter("metrics", url)
        exporter.export(MetricsData(resource_metrics=[]), timeout_millis=5000)
        exporter.shutdown()

    with faulty_collector(lambda _: answer) as collector:
        url = collector.url.removesuffix("/v1/audit")
        assert peak(lambda: export(url)) < 8 * MIB
        assert 1 == len(collector.requests)
