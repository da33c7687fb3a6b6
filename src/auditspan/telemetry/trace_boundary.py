"""The boundary that a request crosses before anything reads its trace headers.

A client that sends `traceparent: …-00` would switch our own span off, and one that sends another's
trace id would write into another's trace. So trace headers are believed only when the peer that
holds the connection is trusted. What an untrusted client sent is not lost: it stands in the environ
as `REMOTE_SPAN_CONTEXT`, and `link_remote_span` puts it on our span as a link.

`TraceBoundary` MUST be the outermost middleware: outside the instrumentation, which reads the
headers, and outside ProxyFix, which replaces the peer's address by one that the client may have
written. Specification: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, TypeAlias

from opentelemetry import propagate, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from auditspan.errors import AuditConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Network: TypeAlias = IPv4Network | IPv6Network

REMOTE_SPAN_CONTEXT = "auditspan.remote_span_context"
"""Where the environ keeps the span context that an untrusted client claimed."""

# Configured propagators are asked for theirs; these are what the usual ones read, so that turning
# one on later, in a part of the program we do not see, opens no hole.
_TRACE_HEADERS = frozenset(
    {
        "HTTP_TRACEPARENT",
        "HTTP_TRACESTATE",
        "HTTP_BAGGAGE",
        "HTTP_B3",
        "HTTP_UBER_TRACE_ID",
        "HTTP_X_AMZN_TRACE_ID",
        "HTTP_X_CLOUD_TRACE_CONTEXT",
    }
)
_TRACE_HEADER_PREFIXES = ("HTTP_X_B3_", "HTTP_UBERCTX_", "HTTP_OT_TRACER_", "HTTP_OT_BAGGAGE_")


def parse_networks(text: str) -> tuple[Network, ...]:
    """The networks in a comma-separated list such as ``127.0.0.1,10.0.0.0/8``; none if empty.

    Raises:
        AuditConfigError: a part is neither an IP address nor a network.
    """
    return tuple(_parse_network(part.strip()) for part in text.split(",") if part.strip())


def _parse_network(part: str) -> Network:
    try:
        return ip_network(part)
    except ValueError as error:
        raise AuditConfigError(
            f"Trusted proxies: {error}. Write IP addresses and networks separated by commas, "
            "such as 127.0.0.1,10.0.0.0/8; names are not looked up."
        ) from error


class TraceBoundary:
    """WSGI middleware that removes trace headers unless the peer is trusted.

    Args:
        wsgi_app: the application, with its instrumentation.
        trusted: the networks whose trace headers are believed; by default nobody's. A peer without
            an IP address, as behind a Unix socket, is not trusted.
    """

    def __init__(self, wsgi_app: WSGIApplication, *, trusted: Sequence[Network] = ()) -> None:
        self._wsgi_app = wsgi_app
        self._trusted = tuple(trusted)
        fields = propagate.get_global_textmap().fields
        self._headers = _TRACE_HEADERS | {_environ_name(field) for field in fields}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request; an untrusted one is as if it had no trace headers."""
        if not self._trusts(environ.get("REMOTE_ADDR", "")):
            self._withdraw(environ)
        return self._wsgi_app(environ, start_response)

    def _trusts(self, peer: str) -> bool:
        if not self._trusted:
            return False
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        # A socket that serves both families shows an IPv4 peer as ::ffff:10.0.0.1.
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._trusted)

    def _withdraw(self, environ: WSGIEnvironment) -> None:
        claimed = _claimed_context(environ.get("HTTP_TRACEPARENT", ""))
        for name in [name for name in environ if self._is_trace_header(name)]:
            del environ[name]
        if claimed.is_valid:
            environ[REMOTE_SPAN_CONTEXT] = claimed

    def _is_trace_header(self, name: str) -> bool:
        return name in self._headers or name.startswith(_TRACE_HEADER_PREFIXES)


def link_remote_span(environ: WSGIEnvironment, span: trace.Span | None = None) -> None:
    """Link `span`, or else the current span, to the span that an untrusted client claimed."""
    claimed: Any = environ.get(REMOTE_SPAN_CONTEXT)
    if isinstance(claimed, trace.SpanContext):
        (span or trace.get_current_span()).add_link(claimed)


def _claimed_context(traceparent: str) -> trace.SpanContext:
    """What a `traceparent` header says, or the invalid context; its `tracestate` is not kept."""
    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    return trace.get_current_span(context).get_span_context()


def _environ_name(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")
