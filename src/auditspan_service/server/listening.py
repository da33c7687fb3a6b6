"""The listening socket of the service, and its first requests."""

from __future__ import annotations

import socket
from http import HTTPStatus

import urllib3

from auditspan_service.errors import ServiceError

_FIRST_PATHS = ("/readyz", "/v1/users")
"""The first requests, made before the service is announced; the second is answered 401."""
_ANSWER_SECONDS = 30.0


def http_url(host: str, port: int) -> str:
    """Return the URL of a host name or an address; an IPv6 address is put in brackets."""
    shown = f"[{host.replace('%', '%25')}]" if ":" in host else host
    return f"http://{shown}:{port}"


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on this address.

    Raises:
        ServiceError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        raise ServiceError(
            f"Cannot listen on port {port} of {host}: {error.strerror}. Choose another with "
            "--port; 0 takes any free port."
        ) from error


def require_answer(listener: socket.socket) -> None:
    """Send the service its first requests: a probe, and one that uses every layer.

    Raises:
        ServiceError: the service does not answer, or answers with a server error.
    """
    address, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 (compared)
    host = f"[{reachable}]" if ":" in reachable else reachable
    for path in _FIRST_PATHS:
        _require_no_server_error(f"http://{host}:{port}{path}")


def _require_no_server_error(url: str) -> None:
    try:
        answer = urllib3.request("GET", url, timeout=_ANSWER_SECONDS, retries=False)
    except urllib3.exceptions.HTTPError as error:
        raise ServiceError(
            f"The service started but did not answer at {url}: {error}. It was stopped; the log "
            "above may show why."
        ) from error
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ServiceError(
            f"The service started but answered HTTP {answer.status} to GET {url}. It was "
            "stopped; the log above shows why."
        )
