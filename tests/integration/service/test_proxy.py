"""The client's address, behind proxies that are trusted and behind those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditspan.telemetry.trace_boundary import parse_networks
from auditspan_service.api.proxy import client_address
from support.service import running_service, settings_at

TRUSTED = parse_networks("10.0.0.0/8,127.0.0.1,2001:db8::/32,fe80::/10")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7,10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", " 198.51.100.7 ", "198.51.100.7"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "2001:DB8:0::7, 10.0.0.2", "2001:db8::7"),
        ("10.0.0.1", "198.51.100.7, <script>", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.7:4711", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "fe80::1%eth0<script>", "10.0.0.1"),
        ("10.0.0.1", "fe80::1%eth0", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, 2001:db8::1%x", "10.0.0.1"),
        ("fe80::1%eth0", "198.51.100.7", "198.51.100.7"),
    ],
)
def test_client_address(peer: str, forwarded: str, expected: str) -> None:
    """The nearest address that is no trusted proxy; never anything that is no address."""
    assert client_address(peer, forwarded, TRUSTED) == expected


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [("127.0.0.1", "198.51.100.7"), ("10.0.0.0/8", "127.0.0.1"), ("", "127.0.0.1")],
)
def test_address_in_the_body(sqlite_url: str, tmp_path: Path, trusted: str, expected: str) -> None:
    """An audit body names the client that a trusted proxy names, and else the peer itself."""
    settings = settings_at(tmp_path / "data", sqlite_url, trusted_proxies=trusted)
    with running_service(settings) as service:
        service.caller()(
            "POST",
            "/v1/users",
            json={"username": "lee"},
            headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "X-Forwarded-Proto": "https"},
        )
        assert service.bodies()[-1]["request"]["client_address"] == expected
