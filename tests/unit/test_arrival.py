"""The parser of requests that have arrived in part."""

from __future__ import annotations

import pytest

from auditspan_service.server.arrival import BODY_BYTES, HEAD_BYTES, Arrival, Phase

POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CASES = {
    b"": Phase.HEAD,
    POST: Phase.HEAD,
    POST + b"\r\n": Phase.WHOLE,
    POST + b"X: " + b"x" * HEAD_BYTES: Phase.TOO_LARGE,
    POST + b"content-LENGTH:\t2\r\n\r\n1": Phase.BODY,
    POST + b"Content-Length: 2\r\n\r\n12": Phase.WHOLE,
    POST + b"Content-Length: x\r\n\r\n": Phase.WHOLE,
    POST + b"Content-Length: 0\r\nExpect: 100-continue\r\n\r\n": Phase.WHOLE,
    POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n": Phase.OPEN,
    POST + b"Content-Length: %d\r\n\r\n" % (BODY_BYTES + 1): Phase.OPEN,
    CHUNKED + b"2\r\n12\r\n0\r\n": Phase.BODY,
    CHUNKED + b"2\r\n12\r\n0\r\n\r\n": Phase.WHOLE,
    CHUNKED + b"2\r\n12\r\n0\r\nX: x\r\n\r\n": Phase.WHOLE,
    CHUNKED + b"fffff\r\n" + b"x" * BODY_BYTES: Phase.OPEN,
    POST + b"\r\n" + POST: Phase.WHOLE,
}


@pytest.mark.parametrize(("data", "phase"), CASES.items())
@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_phase_of_an_arrival(data: bytes, phase: Phase, step: int) -> None:
    """The phase depends on the bytes, however they are cut."""
    arrival = Arrival()
    for start in range(0, len(data), step):
        arrival.add(data[start : start + step])
    assert arrival.phase is phase
