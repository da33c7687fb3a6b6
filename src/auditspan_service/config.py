"""Settings of the service; only this module and `otel_variables` read the environment.

Every field is the variable `AUDITSPAN_<FIELD>`, or a file `auditspan_<field>` in the directory that
`AUDITSPAN_SECRETS_DIR` names (by default `/run/secrets`, if it exists). The `OTEL_*` variables are
read by the OpenTelemetry SDK and keep their standard meaning.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from auditspan.delivery import Acknowledgement, Compression
from auditspan.errors import AuditConfigError
from auditspan.telemetry import Network, parse_networks
from auditspan_service import otel_variables
from auditspan_service.database.sqlite_url import absolute_sqlite_url, sqlite_url
from auditspan_service.destinations import (
    AbsolutePath,
    Destination,
    HttpUrl,
    absolute,
    parse_destinations,
    parse_headers,
)
from auditspan_service.errors import SettingsError
from auditspan_service.otel_variables import MAX_TIMEOUT

_PREFIX = "AUDITSPAN_"
_SECRETS_DIR = Path("/run/secrets")
_MIB = 1024 * 1024
_CONSEQUENCE = "default_factory_not_called"
"""Pydantic's error type for a default that depends on an invalid setting."""


def _database_url(text: str) -> str:
    """Return the URL with the bundled driver, and with an absolute path for a file."""
    try:
        url = make_url(text)
    except ArgumentError:
        # The text is not repeated: it may contain a password.
        raise ValueError("expected a database URL such as postgresql://user@host/name") from None
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


def _client_key(data: Mapping[str, Any]) -> Path | None:
    return otel_variables.client_key(data.get("audit_client_certificate"))


def _replica_url(text: str, info: ValidationInfo) -> str:
    url, primary = _database_url(text), str(info.data.get("database_url", "postgresql:"))
    if not (url.startswith("postgresql") and primary.startswith("postgresql")):
        raise ValueError(
            "the read replica must be a PostgreSQL streaming replica of AUDITSPAN_DATABASE_URL"
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
    """Settings of the service. Values are validated, and errors do not repeat them."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    data_dir: AbsolutePath = Field(
        default=Path(".auditspan"), validate_default=True, description="the data directory"
    )
    database_url: Annotated[str, AfterValidator(_database_url)] = Field(
        default_factory=lambda data: sqlite_url(data["data_dir"] / "auditspan.db"),
        repr=False,
        description="PostgreSQL 13 or newer, or SQLite; by default SQLite under the data directory",
    )
    read_database_url: Annotated[str, AfterValidator(_replica_url)] | None = Field(
        default=None,
        repr=False,
        description="a PostgreSQL streaming replica of the database, which answers searches",
    )
    sink: Literal["otlp", "file", "console"] = Field(
        default="otlp", description="the destination of telemetry and audit records"
    )
    audit_endpoint: HttpUrl = Field(
        default="http://127.0.0.1:4319/v1/audit",
        description="the URL of the collector's audit receiver",
    )
    audit_certificate: AbsolutePath | None = Field(
        default_factory=otel_variables.certificate,
        validate_default=True,
        description="a PEM file of the CA certificates trusted for the audit receiver; by default "
        "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE or OTEL_EXPORTER_OTLP_CERTIFICATE",
    )
    audit_client_certificate: AbsolutePath | None = Field(
        default_factory=otel_variables.client_certificate,
        validate_default=True,
        description="a PEM file of the client certificate; by default OTEL_…_CLIENT_CERTIFICATE",
    )
    audit_client_key: AbsolutePath | None = Field(
        default_factory=_client_key,
        validate_default=True,
        description="a PEM file of the client certificate's key; by default OTEL_…_CLIENT_KEY",
    )
    audit_headers: Annotated[Mapping[str, str], NoDecode, BeforeValidator(parse_headers)] = Field(
        default_factory=otel_variables.headers,
        repr=False,
        description="HTTP headers of audit records, such as Authorization=Bearer%20x; by default "
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS or OTEL_EXPORTER_OTLP_HEADERS",
    )
    audit_timeout: float = Field(
        default_factory=otel_variables.timeout,
        gt=0,
        le=MAX_TIMEOUT,
        description="the timeout for one batch of audit records in seconds; by default "
        "OTEL_…_TIMEOUT, or 10",
    )
    audit_compression: Compression = Field(
        default_factory=otel_variables.compression,
        description="the compression of audit records; by default OTEL_…_COMPRESSION or none",
    )
    audit_acknowledgement: Acknowledgement = Field(
        default="strict",
        description="whether only a collector's answer counts as delivered, or any 2xx",
    )
    more_sinks: Annotated[
        Mapping[str, Destination], NoDecode, BeforeValidator(parse_destinations)
    ] = Field(
        default_factory=dict,
        description="further audit receivers by name, each with its own cursor",
    )
    collector_files: AbsolutePath = Field(
        default_factory=lambda data: data["data_dir"] / "collector",
        description="the directory of the collector's files; the sink `file` writes them",
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
        default=(), description="networks whose X-Forwarded-* and trace headers are trusted"
    )
    strict: bool = Field(default=True, description="refuse changes without an actor")
    record_access: bool = Field(
        default=False,
        description="record reads and refusals of the API, starts and stops as events",
    )
    allow_unguarded: bool = Field(
        default=False,
        description="for development: start even if the database does not guard the trail",
    )
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field(
        default="INFO", description="the minimum severity of log records"
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="the format of log records on standard error"
    )
    max_content_length: int = Field(
        default=_MIB, gt=0, le=64 * _MIB, description="the largest request body in bytes"
    )

    @property
    def is_embedded(self) -> bool:
        """True if the database is an embedded SQLite file rather than a server."""
        return make_url(self.database_url).get_backend_name() == "sqlite"


def load_settings(**given: Any) -> Settings:  # noqa: ANN401 (fields of Settings, validated there)
    """Load settings from `given`, the environment and the secret files, in this order.

    Raises:
        SettingsError: settings are invalid; one sentence for each, naming its variable.
    """
    try:
        return Settings(**{"_secrets_dir": _secrets_dir(), **given})
    except ValidationError as error:
        wrong = [detail for detail in error.errors() if detail["type"] != _CONSEQUENCE]
        raise SettingsError([_sentence(detail) for detail in wrong]) from None


def use_data_dir(path: Path) -> None:
    """Set the data directory of this process and its children."""
    os.environ[f"{_PREFIX}DATA_DIR"] = str(absolute(path))


def environment() -> dict[str, str]:
    """Return a copy of the environment for child processes."""
    return dict(os.environ)


def _secrets_dir() -> Path | None:
    named = os.environ.get(f"{_PREFIX}SECRETS_DIR")
    if named:
        if not Path(named).is_dir():
            raise SettingsError(
                [f"{_PREFIX}SECRETS_DIR is invalid: {named} is not an existing directory."]
            )
        return Path(named)
    return _SECRETS_DIR if _SECRETS_DIR.is_dir() else None


def _sentence(detail: Mapping[str, Any]) -> str:
    field = str(detail["loc"][0]) if detail["loc"] else ""
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{_PREFIX}{field.upper()} is invalid: {message.rstrip('.')}."
