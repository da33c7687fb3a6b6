"""The client behind trusted proxies.

werkzeug's ProxyFix counts hops, believes whoever connects, and passes on whatever stands in the
header. Here a peer must be in a trusted network, and what it says must be an IP address, or the
peer itself stays the client: the address stands in every audit body.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from auditspan.telemetry import Network


class ProxyBoundary:
    """WSGI middleware that puts the client's address and scheme in place of a trusted proxy's."""

    def __init__(self, wsgi_app: WSGIApplication, *, trusted: Sequence[Network]) -> None:
        self._wsgi_app = wsgi_app
        self._trusted = tuple(trusted)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        peer = environ.get("REMOTE_ADDR", "")
        if is_trusted(peer, self._trusted):
            forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
            environ["REMOTE_ADDR"] = client_address(peer, forwarded, self._trusted)
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").strip().lower()
            if scheme in {"http", "https"}:
                environ["wsgi.url_scheme"] = scheme
        return self._wsgi_app(environ, start_response)


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The nearest address that is no trusted proxy, read from the right of X-Forwarded-For.

    What stands left of it anyone may have written. Where an entry is no IP address, the proxy that
    passed it on is the client as far as we can know.
    """
    nearest = peer
    for entry in reversed(forwarded_for.split(",")):
        # A zone (`fe80::1%eth0`) is free text, and means something on the proxy's machine alone.
        address = None if "%" in entry else _parse(entry)
        if address is None:
            return nearest
        nearest = str(address)
        if not is_trusted(nearest, trusted):
            return nearest
    return nearest


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether this is an IP address in one of the networks."""
    address = _parse(peer)
    return address is not None and any(address in network for network in trusted)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    # A socket that serves both families shows an IPv4 peer as ::ffff:10.0.0.1.
    return getattr(address, "ipv4_mapped", None) or address
