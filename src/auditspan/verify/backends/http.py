"""HTTP requests to the query API of a log backend."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import urllib3

from auditspan.delivery import Redaction, checked_headers, pool_manager
from auditspan.errors import AuditConfigError, LogBackendError

_TIMEOUT = urllib3.Timeout(connect=10, read=120)
_PIECE = 64 * 1024
_OK = 200
_SHOWN = 200


class QueryApi:
    """Query API of a log backend at one base URL.

    Args:
        url: the base URL.
        headers: headers to send with every request, for example for authorization. Messages of
            errors do not repeat their values.

    Raises:
        AuditConfigError: the URL or a header is invalid.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        _require_plain(url)
        self.url = url.rstrip("/")
        self._headers = checked_headers(headers)
        self._redacted = Redaction(self._headers)
        self._pool = pool_manager(url, num_pools=1, maxsize=1, retries=False)

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()

    def answers(self, path: str, media_type: str, **parameters: str) -> bool:
        """Return True if the backend answers this request with 200 and this media type.

        Raises:
            LogBackendError: the backend cannot be reached.
        """
        response = self._get(path, parameters)
        try:
            found = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return response.status == _OK and found == media_type
        finally:
            response.close()

    def document(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 (any JSON)
        """Return the JSON document that answers a request.

        Raises:
            LogBackendError: the request failed, or the answer is not JSON.
        """
        return self._parsed(b"".join(self._pieces(path, parameters)))

    def lines(self, path: str, **parameters: str) -> Iterator[Any]:
        """Yield the JSON documents, one a line, that answer a request.

        Raises:
            LogBackendError: the request failed, or the answer ended early or is not JSON.
        """
        rest = b""
        for piece in self._pieces(path, parameters):
            *whole, rest = (rest + piece).split(b"\n")
            yield from map(self._parsed, filter(None, whole))
        if rest:
            yield self._parsed(rest)

    def _pieces(self, path: str, parameters: Mapping[str, str]) -> Iterator[bytes]:
        response = self._get(path, parameters)
        try:
            if response.status != _OK:
                said = response.read(_SHOWN).decode("utf-8", "replace").strip()
                raise LogBackendError(
                    f"{self.url}{path} answered HTTP {response.status}: {self._redacted(said)}"
                )
            yield from response.stream(_PIECE)
        except urllib3.exceptions.HTTPError as error:
            raise LogBackendError(f"the answer of {self.url}{path} ended early: {error}") from error
        finally:
            response.close()

    def _get(self, path: str, parameters: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(
                "GET",
                self.url + path,
                fields=parameters,
                headers=self._headers,
                timeout=_TIMEOUT,
                redirect=False,
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise LogBackendError(f"{self.url} cannot be reached: {error}") from error

    def _parsed(self, text: bytes) -> Any:  # noqa: ANN401 (any JSON)
        try:
            return json.loads(text)
        except ValueError as error:
            raise LogBackendError(f"the answer of {self.url} is not JSON: {error}") from error


def _require_plain(url: str) -> None:
    """Check that the URL is an HTTP URL without credentials.

    Raises:
        AuditConfigError: it is not.
    """
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_valid = False
    else:
        if parts.username is not None or parts.password is not None:
            raise AuditConfigError(
                "the URL of a log backend must not contain a user or a password: set "
                "AUDITSPAN_LOG_BACKEND_HEADERS"
            )
    if not is_valid:
        raise AuditConfigError(
            "invalid URL of a log backend: expected a URL such as http://127.0.0.1:9428"
        )
