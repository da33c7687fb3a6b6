"""The trace boundary: whose trace headers are believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from auditspan.errors import AuditConfigError
from auditspan.telemetry.trace_boundary import (
    REMOTE_SPAN_CONTEXT,
    TraceBoundary,
    link_remote_span,
    parse_networks,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

TRACE_ID = "1" * 32
SPAN_ID = "2" * 16
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-00"

TRACE_HEADERS = {
    "HTTP_TRACEPARENT": TRACEPARENT,
    "HTTP_TRACESTATE": "vendor=1",
    "HTTP_BAGGAGE": "user=root",
    "HTTP_B3": f"{TRACE_ID}-{SPAN_ID}-0",
    "HTTP_X_B3_TRACEID": TRACE_ID,
    "HTTP_X_B3_SAMPLED": "0",
    "HTTP_UBER_TRACE_ID": f"{TRACE_ID}:{SPAN_ID}:0:0",
    "HTTP_UBERCTX_USER": "root",
    "HTTP_OT_TRACER_TRACEID": TRACE_ID,
    "HTTP_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793",
    "HTTP_X_CLOUD_TRACE_CONTEXT": f"{TRACE_ID}/1;o=0",
}
OTHER_HEADERS = {"HTTP_ACCEPT": "*/*", "HTTP_X_REQUEST_ID": "7", "PATH_INFO": "/"}


def seen_behind(boundary_for: str, peer: str, headers: dict[str, str]) -> dict[str, Any]:
    """The environ that an application sees behind a boundary that trusts `boundary_for`."""
    seen: dict[str, Any] = {}

    def application(environ: WSGIEnvironment, _start: StartResponse) -> Iterable[bytes]:
        seen.update(environ)
        return [b"served"]

    def start_response(*_: object) -> Any:
        raise AssertionError

    boundary = TraceBoundary(application, trusted=parse_networks(boundary_for))
    answer = boundary({"REMOTE_ADDR": peer, **headers}, start_response)
    assert answer == [b"served"]
    del seen["REMOTE_ADDR"]
    return seen


def test_default_trusts_no_network() -> None:
    """Without a list of trusted networks every trace header is removed, and nothing else."""
    seen = seen_behind("", "127.0.0.1", TRACE_HEADERS | OTHER_HEADERS)

    assert {*OTHER_HEADERS, REMOTE_SPAN_CONTEXT} == seen.keys()


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.0.0.0/8,192.168.1.1", "10.255.1.2", True),
        ("10.0.0.0/8,192.168.1.1", "192.168.1.1", True),
        ("10.0.0.0/8,192.168.1.1", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("10.0.0.0/8", "::ffff:11.0.0.1", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("2001:db8::/32", "10.0.0.1", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("0.0.0.0/0,::/0", "203.0.113.9", True),
        ("0.0.0.0/0,::/0", "", False),
        ("0.0.0.0/0,::/0", "unix:", False),
        ("10.0.0.0/8", "10.0.0.1, 10.0.0.2", False),
    ],
)
def test_believes_exactly_the_trusted_peers(trusted: str, peer: str, believed: bool) -> None:  # noqa: FBT001 - a column of the table
    """A trusted peer's headers are untouched; anyone else's, and a peer with no address's, go."""
    seen = seen_behind(trusted, peer, TRACE_HEADERS)

    assert (TRACE_HEADERS if believed else {}) == {
        name: value for name, value in seen.items() if name != REMOTE_SPAN_CONTEXT
    }
    assert believed == (REMOTE_SPAN_CONTEXT not in seen)


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "garbage",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"{TRACEPARENT},{TRACEPARENT}",
        "00-" + "1" * 100_000,
    ],
)
def test_keeps_only_a_valid_context(traceparent: str) -> None:
    """An invalid traceparent of an untrusted client leaves no trace of itself."""
    assert seen_behind("", "203.0.113.9", {"HTTP_TRACEPARENT": traceparent}) == {}


def test_keeps_the_ids_but_not_the_state() -> None:
    """Of an untrusted client's claim only ids and flags are kept, none of its free text."""
    claimed = seen_behind("", "203.0.113.9", TRACE_HEADERS)[REMOTE_SPAN_CONTEXT]

    assert (
        trace.SpanContext(
            trace_id=int(TRACE_ID, 16),
            span_id=int(SPAN_ID, 16),
            is_remote=True,
            trace_flags=trace.TraceFlags(0),
        )
        == claimed
    )


def test_link_on_the_given_or_the_current_span() -> None:
    """The claimed span becomes a link, on the span that is given or else on the current one."""
    claimed = seen_behind("", "203.0.113.9", TRACE_HEADERS)[REMOTE_SPAN_CONTEXT]
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("current") as current:
        given = tracer.start_span("given")

        link_remote_span({REMOTE_SPAN_CONTEXT: claimed}, given)
        link_remote_span({REMOTE_SPAN_CONTEXT: claimed})
        link_remote_span({})

    linked = [[link.context for link in getattr(span, "links", ())] for span in (given, current)]
    assert [[claimed], [claimed]] == linked


def test_parses_a_list_of_networks() -> None:
    """Addresses and networks, spaces and an empty list are understood."""
    networks = parse_networks(" 127.0.0.1, 10.0.0.0/8 ,,::1")

    assert [str(network) for network in networks] == ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]
    assert parse_networks("") == ()


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "1.2.3.4;5.6.7.8"])
def test_invalid_network_is_refused(text: str) -> None:
    """Anything else is refused with a sentence that names it and shows how it is written."""
    with pytest.raises(AuditConfigError) as refusal:
        parse_networks(f"127.0.0.1,{text}")

    assert text in refusal.value.message
    assert "127.0.0.1,10.0.0.0/8" in refusal.value.message
