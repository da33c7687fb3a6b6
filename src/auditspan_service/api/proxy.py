"""The client's address behind trusted proxies.

werkzeug's ProxyFix counts hops, trusts every peer, and passes on any header value. Here the peer
must be in a trusted network, and the forwarded value must be an IP address; otherwise the peer
itself is taken as the client. The address is recorded in every audit body.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from auditspan.telemetry import Network


class ProxyBoundary:
    """WSGI middleware that replaces a trusted proxy's address and scheme by the client's."""

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
    """Return the rightmost address in X-Forwarded-For that is not a trusted proxy.

    Entries to the left of it may be forged. If an entry is not an IP address, the proxy that
    forwarded it is taken as the client.
    """
    nearest = peer
    for entry in reversed(forwarded_for.split(",")):
        # A zone (`fe80::1%eth0`) is free text, with a meaning only on the proxy's machine.
        address = None if "%" in entry else _parse(entry)
        if address is None:
            return nearest
        nearest = str(address)
        if not is_trusted(nearest, trusted):
            return nearest
    return nearest


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Return whether `peer` is an IP address in one of the networks."""
    address = _parse(peer)
    return address is not None and any(address in network for network in trusted)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    # A socket that serves both families shows an IPv4 peer as ::ffff:10.0.0.1.
    return getattr(address, "ipv4_mapped", None) or address
