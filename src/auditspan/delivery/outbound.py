"""Proxy settings for all outbound HTTP of auditspan.

HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY keep their usual meaning. NO_PROXY may also name
networks such as 10.0.0.0/8 and domains such as *.example.org, and its entries may be separated by
spaces. A loopback address is never reached through a proxy.
"""

from __future__ import annotations

from base64 import b64encode
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # not in typeshed
    getproxies_environment,
    proxy_bypass_environment,
)

import urllib3

from auditspan.errors import AuditConfigError


def pool_manager(url: str, **options: Any) -> urllib3.PoolManager:
    """Return a connection pool for this URL, through the proxy that applies to it.

    Raises:
        AuditConfigError: the environment names a proxy that is not an HTTP proxy.
    """
    proxy = proxy_for(url)
    if proxy is None:
        return urllib3.PoolManager(**options)
    try:
        return _through(proxy, options)
    except (ValueError, urllib3.exceptions.HTTPError):  # their texts repeat the password
        raise AuditConfigError(
            f"The proxy for {urlsplit(url).scheme} URLs is not supported: set HTTP_PROXY and "
            "HTTPS_PROXY to a URL such as http://proxy:3128, or name the host in NO_PROXY."
        ) from None


def _through(proxy: str, options: dict[str, Any]) -> urllib3.PoolManager:
    parts = urlsplit(proxy)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("not an HTTP proxy")
    return urllib3.ProxyManager(proxy, proxy_headers=_credentials(parts), **options)


def proxy_for(url: str) -> str | None:
    """Return the URL of the proxy for this URL; None if it is reached directly."""
    parts = urlsplit(url)
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(parts.hostname or "") or _is_exempt(parts, proxies):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    """Return whether this host is the local machine; only localhost is recognized by name."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        name = host.rstrip(".").lower()
        return name == "localhost" or name.endswith(".localhost")
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def _is_exempt(parts: SplitResult, proxies: dict[str, str]) -> bool:
    entries = proxies.get("no", "").replace(",", " ").split()
    suffixes = (entry.removeprefix("*") if entry.startswith("*.") else entry for entry in entries)
    host = parts.netloc.rpartition("@")[2]
    if proxy_bypass_environment(host, proxies | {"no": ",".join(suffixes)}):
        return True
    return "*" in entries or any(_contains(entry, parts.hostname or "") for entry in entries)


def _contains(network: str, host: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def _credentials(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    user, password = unquote(parts.username), unquote(parts.password or "")
    encoded = b64encode(f"{user}:{password}".encode()).decode()
    return {"proxy-authorization": f"Basic {encoded}"}  # in UTF-8 (RFC 7617 §2.1)
