"""The URL at which the service announces itself."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from auditspan_service.server.listening import http_url


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost:8000"),
        ("::1", "http://[::1]:8000"),
        ("::", "http://[::]:8000"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:8000"),
    ],
)
def test_url_has_brackets_around_an_ipv6_address(host: str, expected: str) -> None:
    """The URL is one that clients can parse, with the port that was given."""
    url = http_url(host, 8000)
    assert (expected, 8000) == (url, urlsplit(url).port)
