"""Settings of a trail, from the environment.

Every field is the variable `AUDITSPAN_<FIELD>`, or a file `auditspan_<field>` in the directory that
`AUDITSPAN_SECRETS_DIR` names (by default `/run/secrets`, if it exists). The `OTEL_*` variables are
read by the OpenTelemetry SDK and keep their standard meaning.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import Engine

from auditspan.delivery import Acknowledgement, Compression
from auditspan.errors import SettingsError
from auditspan.trail.settings import otel_variables
from auditspan.trail.settings.destinations import (
    AbsolutePath,
    Destination,
    ReceiverUrl,
    TraceUrl,
    parse_destinations,
    parse_headers,
)
from auditspan.trail.settings.otel_variables import MAX_TIMEOUT

_PREFIX = "AUDITSPAN_"
_SECRETS_DIR = Path("/run/secrets")
_OF_COMMANDS = ("app", "bind", "secrets_dir")
"""Variables that commands read, without a field."""

_RESEMBLANCE = 0.8
_CONSEQUENCE = "default_factory_not_called"
"""Pydantic's error type for a default that depends on an invalid setting."""


def _client_key(data: Mapping[str, Any]) -> Path | None:
    return otel_variables.client_key(data.get("audit_client_certificate"))


class TrailSettings(BaseSettings):
    """Settings of a trail. Values are validated, and errors do not repeat them."""

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
    env: Literal["development", "production"] | None = Field(
        default=None,
        description="whether missing keys are created; by default development with SQLite, and "
        "production otherwise",
    )
    sink: Literal["otlp", "file", "console"] = Field(
        default="otlp", description="the destination of telemetry and audit records"
    )
    audit_endpoint: ReceiverUrl = Field(
        default="http://127.0.0.1:4319/v1/audit",
        description="the URL of the collector's audit receiver, or kafka://broker:9092/topic",
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
    log_backend_headers: Annotated[Mapping[str, str], NoDecode, BeforeValidator(parse_headers)] = (
        Field(
            default_factory=dict,
            repr=False,
            description="HTTP headers of the queries of `reconcile --backend`, such as "
            "Authorization=Bearer%20x",
        )
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
    kafka_properties: AbsolutePath | None = Field(
        default=None,
        description="a file of the Kafka client's properties, such as `security.protocol`, for "
        "kafka:// destinations",
    )
    collector_files: AbsolutePath = Field(
        default_factory=lambda data: data["data_dir"] / "collector",
        description="the directory of the collector's files; the sink `file` writes them",
    )
    trace_url: TraceUrl | None = Field(
        default=None,
        description="the URL of a trace in Jaeger, Grafana or the like, with {trace_id} in it; the "
        "pages and the commands link to it",
    )
    signing_key_file: AbsolutePath = Field(
        default_factory=lambda data: data["data_dir"] / "keys" / "signing.key",
        description="the Ed25519 key that signs checkpoints",
    )
    mac_key_file: AbsolutePath = Field(
        default_factory=lambda data: data["data_dir"] / "keys" / "mac.key",
        description="the key of the MAC over every audit body",
    )
    erasure_key_file: AbsolutePath = Field(
        default_factory=lambda data: data["data_dir"] / "keys" / "erasure.key",
        description="the key that encrypts erasable values",
    )
    allow_unguarded: bool = Field(
        default=False,
        description="for development: start even if the database does not guard the trail",
    )

    def for_bind(self, name: str) -> Self:
        """Return the settings of the trail in another database of an application.

        Its signing key, which names the trail, is in a file of its own beside the other one:
        `keys/signing-visits.key` for the bind `visits`.
        """
        path = self.signing_key_file
        own = path.with_name(f"{path.stem}-{name}{path.suffix}")
        return self.model_copy(update={"signing_key_file": own})

    def is_development(self, engine: Engine) -> bool:
        """Return whether missing keys are created for this database."""
        is_embedded = engine.url.get_backend_name() == "sqlite"
        return self.env == "development" or (self.env is None and is_embedded)


_Settings = TypeVar("_Settings", bound=TrailSettings)


def load_settings(kind: type[_Settings], **given: Any) -> _Settings:
    """Load settings from `given`, the environment and the secret files, in this order.

    Raises:
        SettingsError: settings are invalid; one sentence for each, naming its variable.
    """
    try:
        return kind(**{"_secrets_dir": _secrets_dir(), **given})
    except ValidationError as error:
        wrong = [detail for detail in error.errors() if detail["type"] != _CONSEQUENCE]
        raise SettingsError([_sentence(detail) for detail in wrong]) from None


def settings_from(config: Mapping[str, object]) -> TrailSettings:
    """Load settings from an application's `config["AUDITSPAN_…"]`, then as `load_settings`.

    Raises:
        SettingsError: settings are invalid.
    """
    given = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in config.items()
        if name.startswith(_PREFIX)
    }
    return load_settings(TrailSettings, **given)


def environment() -> dict[str, str]:
    """Return a copy of the environment for child processes."""
    return dict(os.environ)


def misspelled_variables(settings: TrailSettings) -> dict[str, str]:
    """Return each misspelled variable, with the setting that it resembles.

    Others are ignored: an environment may hold the settings of several programs.
    """
    known = [*type(settings).model_fields, *_OF_COMMANDS]
    given = [name[len(_PREFIX) :].lower() for name in os.environ if name.startswith(_PREFIX)]
    near = {
        name: difflib.get_close_matches(name, known, n=1, cutoff=_RESEMBLANCE)
        for name in given
        if name not in known
    }
    return {
        f"{_PREFIX}{name.upper()}": f"{_PREFIX}{found[0].upper()}"
        for name, found in sorted(near.items())
        if found
    }


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
