"""The sender of audit log records over OTLP/HTTP (OTLP specification 1.x, protobuf).

A separate implementation, because the SDK's exporter treats any 2xx or 3xx as success and does not
read the response, and its batch processor drops records when it is full.
"""

from __future__ import annotations

import gzip
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

import urllib3
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from auditspan.delivery.answers import MAX_BYTES, Answer, read_answer
from auditspan.delivery.encoding import encode
from auditspan.delivery.outbound import pool_manager
from auditspan.errors import AuditConfigError, SinkRejectedError, SinkUnavailableError
from auditspan.telemetry import ExportRecord

_PROTOBUF = "application/x-protobuf"
_REFUSED = frozenset({400, 413, 422})
"""Status codes that concern the records themselves; all others concern the transport."""

Compression: TypeAlias = Literal["none", "gzip", "deflate"]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset({"content-type", "content-encoding", "content-length", "transfer-encoding"})
"""Headers that the sender sets itself; given ones are ignored."""

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

    A batch is delivered only when the collector responds with HTTP 200 and a body that parses as
    `ExportLogsServiceResponse` and rejects nothing. Redirects are not followed, because their
    target may not be a collector.

    Args:
        endpoint: the full URL, as in ``http://127.0.0.1:4319/v1/audit``.
        name: the unique name under which the relay stores this sink's cursors.
        timeout: seconds for one whole request; a hanging collector blocks for no longer.
        tls: the certificates, if they are not those of the system.
        headers: headers to send with every request, for example for authorization.
        compression: the compression of the requests.

    Raises:
        AuditConfigError: a header is invalid, or the proxy of the environment is not supported.
    """

    def __init__(  # noqa: PLR0913 (keyword-only, each with a default)
        self,
        endpoint: str,
        *,
        name: str = "otlp",
        timeout: float = 10.0,
        tls: TlsFiles | None = None,
        headers: Mapping[str, str] | None = None,
        compression: Compression = "none",
    ) -> None:
        self.name = name
        self._endpoint = endpoint
        self._timeout = urllib3.Timeout(total=timeout)
        self._pool = _pool(endpoint, tls or TlsFiles())
        self._compression = compression
        self._headers = {
            "user-agent": f"auditspan/{version('auditspan')}",
            **_given(headers or {}),
            "Content-Type": _PROTOBUF,
        }
        if compression != "none":
            self._headers["Content-Encoding"] = compression

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Deliver a batch; see `Sink`."""
        answer = self._post(encode(records))
        if answer.status in _REFUSED:
            raise SinkRejectedError(f"the collector answered HTTP {answer.status}: {_text(answer)}")
        if answer.status != 200:  # noqa: PLR2004
            raise SinkUnavailableError(
                f"the collector at {self._endpoint} answered HTTP {answer.status}: {_text(answer)}",
                retry_after=_retry_after(answer),
            )
        self._require_acceptance(answer)

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
                f"the collector at {self._endpoint} cannot be reached: "
                f"{_reason(error)}{_advice(error)}"
            ) from error

    def _require_acceptance(self, answer: Answer) -> None:
        try:
            partial = _parse(answer).partial_success
        except DecodeError as error:
            raise SinkUnavailableError(
                f"{self._endpoint} answered HTTP 200, but not as a collector ({error}): check that "
                "it is the audit receiver"
            ) from error
        if partial.rejected_log_records:
            raise SinkRejectedError(
                f"the collector rejected {partial.rejected_log_records} of a batch: "
                f"{partial.error_message}"
            )


def _given(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers in lower case, without those that the sender sets itself.

    They are checked here, since a header that fails on sending would look like a bad record.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise AuditConfigError(
                f"Invalid header {name!r} for the audit receiver: a name must be a token, and a "
                "value must have no line breaks, control characters or characters beyond Latin-1."
            )
    lowered = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lowered.items() if name not in _OURS}


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


def _parse(answer: Answer) -> ExportLogsServiceResponse:
    media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    if media_type != _PROTOBUF:
        raise DecodeError(media_type or "no content type")
    if not answer.is_whole:
        raise DecodeError(f"not decompressible, or larger than {MAX_BYTES} bytes")
    return ExportLogsServiceResponse.FromString(answer.data)


def _text(answer: Answer) -> str:
    return answer.data[:200].decode("utf-8", "replace").strip() or "(empty)"


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
