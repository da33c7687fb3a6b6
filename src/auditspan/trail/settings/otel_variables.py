"""OpenTelemetry's variables that the SDK's providers and exporters do not read by themselves.

Those of the OTLP exporters are also defaults for the delivery of audit records. A variable for one
signal takes precedence over the one for all signals. Like the SDK's exporter, this ignores invalid
values of connections.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import unquote

from auditspan.delivery import Compression

DEFAULT_TIMEOUT = 10.0
MAX_TIMEOUT = 600.0

Signal: TypeAlias = Literal["traces", "logs", "metrics"]

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}


def is_disabled() -> bool:
    """Return True if OTEL_SDK_DISABLED switches traces, logs and metrics off."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exporter(signal: Signal) -> str | None:
    """Return the exporter that OTEL_<SIGNAL>_EXPORTER names; None if it is not set."""
    return os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() or None


def protocol(signal: Signal) -> str:
    """Return the protocol of the OTLP exporter, by default ``http/protobuf``."""
    return _text("PROTOCOL", signal).strip().lower() or "http/protobuf"


def sdk_log_level() -> int | None:
    """Return the level of OTEL_LOG_LEVEL for the SDK's own log; None if it names none."""
    return _LEVELS.get(os.environ.get("OTEL_LOG_LEVEL", "").strip().lower())


def certificate() -> Path | None:
    """Return the file of the authorities that may have signed the collector's certificate."""
    return _path("CERTIFICATE")


def client_certificate() -> Path | None:
    """Return the file of the client certificate."""
    return _path("CLIENT_CERTIFICATE")


def client_key(of: Path | None) -> Path | None:
    """Return the file of the key of the client certificate `of`, if the variables name that."""
    return _path("CLIENT_KEY") if of == client_certificate() else None


def headers() -> Mapping[str, str]:
    """Return the headers, without malformed ones."""
    return split_headers(part for part in _text("HEADERS").split(",") if "=" in part)


def timeout() -> float:
    """Return the timeout of a request in seconds."""
    try:
        seconds = float(_text("TIMEOUT"))
    except ValueError:
        return DEFAULT_TIMEOUT
    return min(seconds, MAX_TIMEOUT) if seconds > 0 else DEFAULT_TIMEOUT


def compression() -> Compression:
    """Return the compression of requests."""
    named = _text("COMPRESSION").strip().lower()
    return "gzip" if named == "gzip" else "deflate" if named == "deflate" else "none"


def split_headers(pairs: Iterable[str]) -> dict[str, str]:
    """Return headers by their lower-case name, from pairs such as ``X-Tenant=a%20b``."""
    parts = [pair.split("=", 1) for pair in pairs]
    return {unquote(name).strip().lower(): unquote(text).strip() for name, text in parts}


def _text(what: str, signal: Signal = "logs") -> str:
    specific = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}")
    return specific or os.environ.get(f"OTEL_EXPORTER_OTLP_{what}", "")


def _path(what: str) -> Path | None:
    text = _text(what)
    return Path(text).expanduser().absolute() if text else None
