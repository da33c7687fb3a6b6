"""WSGI middleware that removes untrusted trace headers before instrumentation reads them.

A client that sends `traceparent: …-00` could disable our span, and a client that sends a foreign
trace id could write into that trace. Trace headers are therefore accepted only from a trusted peer.
The context sent by an untrusted client is kept: it is stored in the environ as
`REMOTE_SPAN_CONTEXT`, and `link_remote_span` adds it to our span as a link.

`TraceBoundary` MUST be the outermost middleware: outside the instrumentation, which reads the
headers, and outside ProxyFix, which replaces the peer's address with one that the client may have
forged. Specification: https://www.w3.org/TR/trace-context/
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
"""The environ key of the span context that an untrusted client claimed."""

# The headers of common propagators, in addition to those of the configured ones: enabling another
# propagator later, elsewhere in the program, must not open a hole.
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
    """Parse a comma-separated list of networks such as ``127.0.0.1,10.0.0.0/8``; it may be empty.

    Raises:
        AuditConfigError: an entry is neither an IP address nor a network.
    """
    return tuple(_parse_network(part.strip()) for part in text.split(",") if part.strip())


def _parse_network(part: str) -> Network:
    try:
        return ip_network(part)
    except ValueError as error:
        raise AuditConfigError(
            f"Invalid trusted proxies: {error}. Write IP addresses and networks separated by "
            "commas, such as 127.0.0.1,10.0.0.0/8; host names are not resolved."
        ) from error


class TraceBoundary:
    """WSGI middleware that removes trace headers unless the peer is trusted.

    Args:
        wsgi_app: the application, with its instrumentation.
        trusted: the networks whose trace headers are accepted; none by default. A peer without an
            IP address, for example on a Unix socket, is not trusted.
    """

    def __init__(self, wsgi_app: WSGIApplication, *, trusted: Sequence[Network] = ()) -> None:
        self._wsgi_app = wsgi_app
        self._trusted = tuple(trusted)
        fields = propagate.get_global_textmap().fields
        self._headers = _TRACE_HEADERS | {_environ_name(field) for field in fields}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request; remove the trace headers of an untrusted peer."""
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
    """Link `span`, or by default the current span, to the span that an untrusted client claimed."""
    claimed: Any = environ.get(REMOTE_SPAN_CONTEXT)
    if isinstance(claimed, trace.SpanContext):
        (span or trace.get_current_span()).add_link(claimed)


def _claimed_context(traceparent: str) -> trace.SpanContext:
    """Parse a `traceparent` header, without `tracestate`; return an invalid context on failure."""
    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    return trace.get_current_span(context).get_span_context()


def _environ_name(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")
