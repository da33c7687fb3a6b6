"""The sender of audit log records over OTLP/HTTP (OTLP specification 1.x, protobuf).

Our own, on the official encoder: the SDK's exporter takes any 2xx or 3xx for success and does not
read the answer, and its batch processor drops records when it is full.
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
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.sdk._logs import ReadableLogRecord

from auditspan.delivery.answers import MAX_BYTES, Answer, read_answer
from auditspan.delivery.outbound import pool_manager
from auditspan.errors import AuditConfigError, SinkRejectedError, SinkUnavailableError

_PROTOBUF = "application/x-protobuf"
_REFUSED = frozenset({400, 413, 422})
"""Answers that speak of the records themselves; all others speak of the way there."""

_TOGETHER = 64
"""Records that are encoded at once. The encoder makes some 10 KB of objects for each: those of 512
do not fit the processor's cache, and take a sixth longer (measured)."""

Compression: TypeAlias = Literal["none", "gzip", "deflate"]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset({"content-type", "content-encoding", "content-length", "transfer-encoding"})
"""Headers that belong to the sender; given ones are passed over."""

_URLLIB3_OBJECT = re.compile(r"HTTPS?Connection(Pool)?\(.*?\): ")


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """The files in PEM with which a sender meets an ``https://`` collector.

    They are read anew for every connection: renewed ones count from the next on, and those that
    are not there yet make the collector unavailable until they are.

    Attributes:
        certificate: the authorities that may have signed the collector's certificate; by default
            those of the system.
        client_certificate: our own, for a collector that asks for one.
        client_key: its key, where that is not in the same file; not encrypted.
    """

    certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


class OtlpSink:
    """Posts batches to a collector's audit receiver.

    A batch is delivered only by HTTP 200 with a body that parses as `ExportLogsServiceResponse`
    and rejects nothing. Redirects are not followed: the next answerer may not be a collector.

    Args:
        endpoint: the full URL, as in ``http://127.0.0.1:4319/v1/audit``.
        name: under which the relay keeps how far this sink has come; another for each sink.
        timeout: seconds for the whole of one exchange; a hanging collector costs no more.
        tls: the certificates, where they are not those of the system.
        headers: sent with every request, as for authorization.
        compression: of the requests.

    Raises:
        AuditConfigError: a header cannot be sent, or the proxy of the environment cannot be used.
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

    def send(self, records: Sequence[ReadableLogRecord]) -> None:
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
                f"{self._endpoint} answered HTTP 200 but not as a collector does ({error}): is it "
                "the audit receiver?"
            ) from error
        if partial.rejected_log_records:
            raise SinkRejectedError(
                f"the collector rejected {partial.rejected_log_records} of a batch: "
                f"{partial.error_message}"
            )


def encode(records: Sequence[ReadableLogRecord]) -> bytes:
    """The export request with these records, in their order.

    The parts of a request one behind the other are that request: protobuf puts what is repeated
    together.
    """
    starts = range(0, len(records), _TOGETHER)
    parts = (encode_logs(records[start : start + _TOGETHER]) for start in starts)
    return b"".join([part.SerializeToString() for part in parts])


def _given(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers in small letters, without those that are the sender's own.

    Checked here: a header that fails when it is sent would look like a record that cannot be.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise AuditConfigError(
                f"The header {name!r} of the audit receiver cannot be sent: a name is a token, and "
                "a value has no line breaks, control characters or characters beyond Latin-1."
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
    """What went wrong, without the names that urllib3 gives to its own objects."""
    if isinstance(error, urllib3.exceptions.ProtocolError) and error.args:
        return str(error.args[-1])  # ("Connection aborted.", the reason)
    return _URLLIB3_OBJECT.sub("", str(error), count=1)


def _advice(error: urllib3.exceptions.HTTPError) -> str:
    """What else to say when it was not the network but the certificates."""
    reasons = (error, *error.args)
    if any(isinstance(one, urllib3.exceptions.SSLError | ssl.SSLError) for one in reasons):
        return " (see docs/how-to/encrypt-with-tls.md)"
    return ""


def _parse(answer: Answer) -> ExportLogsServiceResponse:
    media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    if media_type != _PROTOBUF:
        raise DecodeError(media_type or "no content type")
    if not answer.is_whole:
        raise DecodeError(f"not unpacked, or larger than {MAX_BYTES} bytes")
    return ExportLogsServiceResponse.FromString(answer.data)


def _text(answer: Answer) -> str:
    return answer.data[:200].decode("utf-8", "replace").strip() or "(empty)"


def _retry_after(answer: Answer) -> float | None:
    """Seconds from a Retry-After header, in either of its forms (RFC 9110 §10.2.3).

    None for anything else. How long to wait at most is the caller's decision.
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
