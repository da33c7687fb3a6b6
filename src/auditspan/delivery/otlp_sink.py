"""The sender of audit log records over OTLP/HTTP (OTLP specification 1.x, protobuf).

A separate implementation, because the SDK's exporter treats any 2xx or 3xx as success and does not
read the response, and its batch processor drops records when it is full.
"""

from __future__ import annotations

import gzip
import logging
import re
import ssl
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import urllib3

from auditspan.delivery.acknowledgement import (
    PROTOBUF,
    Acknowledgement,
    invalidity,
    is_success,
    rejection,
)
from auditspan.delivery.answers import Answer, read_answer
from auditspan.delivery.backoff import LONGEST_ASKED
from auditspan.delivery.encoding import encode
from auditspan.delivery.log_record import ExportRecord
from auditspan.delivery.outbound import pool_manager
from auditspan.delivery.request_headers import (
    Redaction,
    checked_headers,
    query_values,
    shown_url,
)
from auditspan.errors import AuditConfigError, SinkRejectedError, SinkUnavailableError

_REFUSED = frozenset({400, 413, 422})
"""Status codes that concern the records themselves; all others concern the transport."""

MOST_COPIES = 3
"""Deliveries without a valid answer after which only empty requests are sent."""

_MEANING = (
    "`acknowledgement` is `strict`, so only a collector's answer counts as delivered: check that "
    "the URL is an OTLP receiver; for one that is not a collector, set `acknowledgement` to `http`"
)
_CREDENTIALS = " (check the headers: the receiver requires other credentials)"
_REDIRECT = " (redirects are not followed: check the URL of the receiver)"
_ADVICE = {
    **dict.fromkeys((301, 302, 303, 307, 308), _REDIRECT),
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    407: " (check the user and the password in the URL of the proxy, HTTP_PROXY or HTTPS_PROXY)",
}

Compression: TypeAlias = Literal["none", "gzip", "deflate"]

_logger = logging.getLogger(__name__)

_URLLIB3_OBJECT = re.compile(r"HTTPS?Connection(Pool)?\(.*?\): ")


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files for connections to an ``https://`` collector.

    They are read again for every connection: renewed files apply from the next connection on, and
    while a file is missing, the collector is unavailable.

    Attributes:
        certificate: the authorities that may have signed the collector's certificate; by default
            those of the system.
        client_certificate: the client certificate, for a collector that requires one.
        client_key: its key, not encrypted, if that is not in the same file.
    """

    certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


class OtlpSink:
    """Sink that posts batches to a collector's audit receiver.

    A batch is delivered only when the answer acknowledges it, see `Acknowledgement`. A receiver
    that gives no valid answer gets `MOST_COPIES` copies, and then empty requests until it answers
    one of them. Redirects are not followed, because their target may not be a collector.

    Args:
        endpoint: the full URL, as in ``http://127.0.0.1:4319/v1/audit``.
        name: the unique name under which the relay stores this sink's cursors.
        timeout: seconds for one whole request; a hanging collector blocks for no longer.
        tls: the certificates, if they are not those of the system.
        headers: headers to send with every request, for example for authorization.
        compression: the compression of the requests.
        acknowledgement: which answers count as delivered.

    Raises:
        AuditConfigError: a header is invalid, the URL has a user or a password, or the proxy of
            the environment is not supported.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        name: str = "otlp",
        timeout: float = 10.0,
        tls: TlsFiles | None = None,
        headers: Mapping[str, str] | None = None,
        compression: Compression = "none",
        acknowledgement: Acknowledgement = "strict",
    ) -> None:
        _require_no_credentials(endpoint)
        self.name = name
        self.acknowledgement = acknowledgement
        self._unanswered = 0
        self._endpoint, self._shown = endpoint, shown_url(endpoint)
        self._timeout = urllib3.Timeout(total=timeout)
        self._pool = _pool(endpoint, tls or TlsFiles())
        self._compression = compression
        given = checked_headers(headers or {})
        self._redacted = Redaction({**query_values(endpoint), **given})
        self._headers = {
            "user-agent": f"auditspan/{version('auditspan')}",
            **given,
            "Content-Type": PROTOBUF,
        }
        if compression != "none":
            self._headers["Content-Encoding"] = compression

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Deliver a batch; see `Sink`."""
        if records and self._unanswered >= MOST_COPIES:
            self._require_acceptance(self._post(b""))
        answer = self._post(encode(records))
        if records and self._is_unanswered(answer):
            self._count_copy()
        self._require_acceptance(answer)
        if records:
            self._unanswered = 0

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()

    def _post(self, payload: bytes) -> Answer:
        try:
            response = self._pool.request(
                "POST",
                self._endpoint,
                body=_compressed(payload, self._compression),
                headers=self._headers,
                timeout=self._timeout,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            return read_answer(response)
        except urllib3.exceptions.HTTPError as error:
            raise SinkUnavailableError(
                f"the collector at {self._shown} cannot be reached: "
                f"{self._redacted(_reason(error))}{_advice(error)}"
            ) from error

    def _require_acceptance(self, answer: Answer) -> None:
        if answer.status in _REFUSED:
            raise SinkRejectedError(f"the collector {self._said(answer)}")
        if not is_success(answer):
            raise SinkUnavailableError(
                f"the collector at {self._shown} {self._said(answer)}",
                retry_after=_retry_after(answer),
            )
        if rejected := rejection(answer):
            raise SinkRejectedError(
                f"the collector rejected {rejected.rejected_log_records} of a batch: "
                f"{self._redacted(rejected.error_message)}"
            )
        if fault := invalidity(answer, self.acknowledgement):
            raise SinkUnavailableError(
                f"{self._shown} answered {self._redacted(fault)}, which acknowledges nothing: "
                f"{_MEANING}",
                # It answers empty requests only: as few copies as possible.
                retry_after=LONGEST_ASKED if self._unanswered > MOST_COPIES else None,
            )

    def _is_unanswered(self, answer: Answer) -> bool:
        """Return True if the receiver may have taken the records without acknowledging them."""
        return is_success(answer) and invalidity(answer, self.acknowledgement) is not None

    def _count_copy(self) -> None:
        self._unanswered += 1
        if self._unanswered == MOST_COPIES:
            _logger.warning(
                "%s gave no valid answer to %d deliveries: it counts as unavailable, and gets "
                "no more records until it answers an empty request; %s",
                *(self._shown, MOST_COPIES, _MEANING),
            )

    def _said(self, answer: Answer) -> str:
        text = self._redacted(answer.data.decode("utf-8", "replace")).strip()[:200]
        advice = _ADVICE.get(answer.status, "")
        return f"answered HTTP {answer.status}: {text or '(empty)'}{advice}"


def _require_no_credentials(endpoint: str) -> None:
    """Refuse credentials in a URL, which would not be sent, and would appear in messages."""
    if "@" in urlsplit(endpoint).netloc:
        raise AuditConfigError(
            "The URL of the audit receiver must not contain a user or a password: give a header "
            "Authorization, or a client certificate."
        )


def _compressed(payload: bytes, compression: Compression) -> bytes:
    match compression:
        case "gzip":
            return gzip.compress(payload)
        case "deflate":
            return zlib.compress(payload)
        case _:
            return payload


def _pool(endpoint: str, tls: TlsFiles) -> urllib3.PoolManager:
    return pool_manager(
        endpoint,
        num_pools=1,
        maxsize=1,
        retries=False,
        cert_reqs="CERT_REQUIRED",
        ca_certs=_path(tls.certificate),
        cert_file=_path(tls.client_certificate),
        key_file=_path(tls.client_key),
    )


def _path(path: Path | None) -> str | None:
    return str(path) if path else None


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    """Return the reason of an error, without the names of urllib3's own objects."""
    if isinstance(error, urllib3.exceptions.ProtocolError) and error.args:
        return str(error.args[-1])  # ("Connection aborted.", the reason)
    return _URLLIB3_OBJECT.sub("", str(error), count=1)


def _advice(error: urllib3.exceptions.HTTPError) -> str:
    """Return a pointer to the documentation if certificates caused the error."""
    reasons = (error, *error.args)
    if any(isinstance(one, urllib3.exceptions.SSLError | ssl.SSLError) for one in reasons):
        return " (see docs/how-to/encrypt-with-tls.md)"
    return ""


def _retry_after(answer: Answer) -> float | None:
    """Return the seconds of a Retry-After header, in either of its forms (RFC 9110 §10.2.3).

    Return None for anything else. The caller decides on an upper limit.
    """
    value = answer.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:  # "-0000": UTC, by RFC 5322 §3.3
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
