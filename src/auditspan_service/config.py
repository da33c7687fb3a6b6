"""The settings of the service: the one file that reads the environment.

Every field is the variable `AUDITSPAN_<FIELD>`, or a file `auditspan_<field>` in the directory that
`AUDITSPAN_SECRETS_DIR` names (by default `/run/secrets`, when there is one). The `OTEL_*` variables
are read by the OpenTelemetry SDK and keep their standard meaning.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from auditspan.delivery import Compression
from auditspan.errors import AuditConfigError
from auditspan.telemetry import Network, parse_networks
from auditspan_service.database.sqlite_url import absolute_sqlite_url, sqlite_url
from auditspan_service.destinations import (
    DEFAULT_TIMEOUT,
    MAX_TIMEOUT,
    AbsolutePath,
    Destination,
    HttpUrl,
    absolute,
    parse_destinations,
    parse_headers,
)
from auditspan_service.errors import SettingsError

_PREFIX = "AUDITSPAN_"
_SECRETS_DIR = Path("/run/secrets")
_MIB = 1024 * 1024
_CONSEQUENCE = "default_factory_not_called"
"""What pydantic calls it when a default depends on a setting that is invalid."""


def _database_url(text: str) -> str:
    """The URL with the driver that we ship, and an absolute path for a file."""
    try:
        url = make_url(text)
    except ArgumentError:
        # Nothing of the text is repeated: it may hold a password.
        raise ValueError("it is no database URL such as postgresql://user@host/name") from None
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    _require_usable(url)
    if url.get_backend_name() == "sqlite":
        url = absolute_sqlite_url(text)
    return url.render_as_string(hide_password=False)


def _require_usable(url: URL) -> None:
    if url.drivername not in {"postgresql+psycopg", "sqlite", "sqlite+pysqlite"}:
        raise ValueError(
            f"{url.drivername} is not supported: use postgresql:// (PostgreSQL 13 or newer) or "
            "sqlite:///path/to/file"
        )


def _for_logs(what: str) -> str:
    """What OpenTelemetry's own variables say for logs, or else for every signal."""
    specific = os.environ.get(f"OTEL_EXPORTER_OTLP_LOGS_{what}")
    return specific or os.environ.get(f"OTEL_EXPORTER_OTLP_{what}", "")


def _as_for_logs(what: str) -> Callable[[], Path | None]:
    def named() -> Path | None:
        path = _for_logs(what)
        return Path(path) if path else None

    return named


def _headers_for_logs() -> Mapping[str, str]:
    """The headers of the log signal; as its exporter does, a malformed one is passed over."""
    parts = [part for part in _for_logs("HEADERS").split(",") if "=" in part]
    headers: Any = parse_headers(",".join(parts))
    return dict(headers)


def _timeout_for_logs() -> float:
    """The timeout of the log signal; as its exporter does, an invalid one is passed over."""
    try:
        seconds = float(_for_logs("TIMEOUT"))
    except ValueError:
        return DEFAULT_TIMEOUT
    return min(seconds, MAX_TIMEOUT) if seconds > 0 else DEFAULT_TIMEOUT


def _compression_for_logs() -> Compression:
    """The compression of the log signal; as its exporter does, an unknown one is passed over."""
    named = _for_logs("COMPRESSION").strip().lower()
    return "gzip" if named == "gzip" else "deflate" if named == "deflate" else "none"


def _replica_url(text: str, info: ValidationInfo) -> str:
    url, primary = _database_url(text), str(info.data.get("database_url", "postgresql:"))
    if not (url.startswith("postgresql") and primary.startswith("postgresql")):
        raise ValueError(
            "a read replica is a PostgreSQL that streams from the one of AUDITSPAN_DATABASE_URL"
        )
    return url


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_networks(value)
    except AuditConfigError as error:
        raise ValueError(error.message) from error


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Settings(BaseSettings):
    """What can be set. Values are validated, and none of them is shown by an error."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    data_dir: AbsolutePath = Field(
        default=Path(".auditspan"), validate_default=True, description="where everything lies"
    )
    database_url: Annotated[str, AfterValidator(_database_url)] = Field(
        default_factory=lambda data: sqlite_url(data["data_dir"] / "auditspan.db"),
        repr=False,
        description="PostgreSQL 13 or newer, or SQLite; by default SQLite under the data directory",
    )
    read_database_url: Annotated[str, AfterValidator(_replica_url)] | None = Field(
        default=None,
        repr=False,
        description="a PostgreSQL that streams from the database; searches are answered there",
    )
    sink: Literal["otlp", "file", "console"] = Field(
        default="otlp", description="where telemetry and audit records go"
    )
    audit_endpoint: HttpUrl = Field(
        default="http://127.0.0.1:4319/v1/audit", description="the collector's audit receiver"
    )
    audit_certificate: AbsolutePath | None = Field(
        default_factory=_as_for_logs("CERTIFICATE"),
        validate_default=True,
        description="the authorities that sign the audit receiver's certificate, a PEM file; by "
        "default OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE or OTEL_EXPORTER_OTLP_CERTIFICATE",
    )
    audit_client_certificate: AbsolutePath | None = Field(
        default_factory=_as_for_logs("CLIENT_CERTIFICATE"),
        validate_default=True,
        description="the certificate to show to it; by default OTEL_…_CLIENT_CERTIFICATE",
    )
    audit_client_key: AbsolutePath | None = Field(
        default_factory=_as_for_logs("CLIENT_KEY"),
        validate_default=True,
        description="the key of that certificate; by default OTEL_…_CLIENT_KEY",
    )
    audit_headers: Annotated[Mapping[str, str], NoDecode, BeforeValidator(parse_headers)] = Field(
        default_factory=_headers_for_logs,
        repr=False,
        description="sent with audit records, as in Authorization=Bearer%20x; by default "
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS or OTEL_EXPORTER_OTLP_HEADERS",
    )
    audit_timeout: float = Field(
        default_factory=_timeout_for_logs,
        gt=0,
        le=MAX_TIMEOUT,
        description="seconds for one batch of audit records; by default OTEL_…_TIMEOUT, or 10",
    )
    audit_compression: Compression = Field(
        default_factory=_compression_for_logs,
        description="of audit records, by default OTEL_…_COMPRESSION or none",
    )
    more_sinks: Annotated[
        Mapping[str, Destination], NoDecode, BeforeValidator(parse_destinations)
    ] = Field(
        default_factory=dict,
        description="further audit receivers, by name, each with a cursor of its own",
    )
    collector_files: AbsolutePath = Field(
        default_factory=lambda data: data["data_dir"] / "collector",
        description="where the collector's files are read, and with the sink `file` written",
    )
    signing_key_file: AbsolutePath = Field(
        default_factory=lambda data: data["data_dir"] / "keys" / "signing.key",
        description="the Ed25519 key that signs checkpoints",
    )
    mac_key_file: AbsolutePath = Field(
        default_factory=lambda data: data["data_dir"] / "keys" / "mac.key",
        description="the key of the MAC over every audit body",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        default=(), description="networks whose X-Forwarded-* and trace headers are believed"
    )
    strict: bool = Field(default=True, description="refuse a change when nobody says who acts")
    allow_unguarded: bool = Field(
        default=False,
        description="for development: start although the database does not guard the trail",
    )
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field(
        default="INFO", description="the least severe log record that is kept"
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="how log records look on standard error"
    )
    max_content_length: int = Field(
        default=_MIB, gt=0, le=64 * _MIB, description="bytes of the largest request body"
    )

    @property
    def is_embedded(self) -> bool:
        """Whether the database is a SQLite file of ours, and no server that others share."""
        return make_url(self.database_url).get_backend_name() == "sqlite"


def load_settings(**given: Any) -> Settings:  # noqa: ANN401 (fields of Settings, validated there)
    """The settings from `given`, the environment and the secret files, in this order.

    Raises:
        SettingsError: some are invalid; one sentence for each, naming its variable.
    """
    try:
        return Settings(**{"_secrets_dir": _secrets_dir(), **given})
    except ValidationError as error:
        wrong = [detail for detail in error.errors() if detail["type"] != _CONSEQUENCE]
        raise SettingsError([_sentence(detail) for detail in wrong]) from None


def use_data_dir(path: Path) -> None:
    """Make this the data directory of this process and of those it starts."""
    os.environ[f"{_PREFIX}DATA_DIR"] = str(absolute(path))


def environment() -> dict[str, str]:
    """A copy of the environment, for programs that are started as children."""
    return dict(os.environ)


def _secrets_dir() -> Path | None:
    named = os.environ.get(f"{_PREFIX}SECRETS_DIR")
    if named:
        if not Path(named).is_dir():
            raise SettingsError([f"{_PREFIX}SECRETS_DIR names {named}, which is no directory."])
        return Path(named)
    return _SECRETS_DIR if _SECRETS_DIR.is_dir() else None


def _sentence(detail: Mapping[str, Any]) -> str:
    field = str(detail["loc"][0]) if detail["loc"] else ""
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{_PREFIX}{field.upper()} is invalid: {message.rstrip('.')}."
