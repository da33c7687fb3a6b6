"""Settings of the service: those of its trail, and of the service itself.

Every field is the variable `AUDITSPAN_<FIELD>`; see `auditspan.trail.settings`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from limits import parse
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_settings import NoDecode
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from auditspan import Privacy
from auditspan.errors import AuditConfigError
from auditspan.telemetry import EventSignal, Network, parse_networks
from auditspan.trail.settings import TrailSettings
from auditspan.trail.settings import load_settings as load
from auditspan_service.accounts.scopes import SCOPES
from auditspan_service.database.sqlite_url import absolute_sqlite_url, sqlite_url

_MIB = 1024 * 1024
_STORAGES = ("redis://", "rediss://", "redis+unix://")


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


def _storage(text: str) -> str:
    if text != "memory" and not text.startswith(_STORAGES):
        raise ValueError("expected memory, or the URL of a Redis server: redis://host:6379/0")
    return text


def _limit(text: str) -> str:
    if text == "off":
        return text
    try:
        parse(text)
    except ValueError:
        raise ValueError("expected a limit such as 6000/minute, or off") from None
    return text


def _words(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _mapping(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [one.partition("=") for one in value.replace(",", " ").split()]
    if unknown := [ours for _, _, ours in pairs if ours not in SCOPES]:
        raise ValueError(
            f"expected pairs such as audit.read=audit:read with scopes of auditspan on the right; "
            f"{len(unknown)} are not: the scopes are {', '.join(SCOPES)}"
        )
    return {theirs: ours for theirs, _, ours in pairs}


def _jwks_url(text: str, info: ValidationInfo) -> str:
    if not text.startswith(("https://", "http://")):
        raise ValueError("expected a URL such as https://login.example.org/jwks.json")
    if not (info.data.get("jwt_issuer") and info.data.get("jwt_audience")):
        raise ValueError("AUDITSPAN_JWT_ISSUER and AUDITSPAN_JWT_AUDIENCE are required with it")
    return text


Limit = Annotated[str, AfterValidator(_limit)]
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Settings(TrailSettings):
    """Settings of the service. Values are validated, and errors do not repeat them."""

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
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        default=(), description="networks whose X-Forwarded-* and trace headers are trusted"
    )
    strict: bool = Field(default=True, description="refuse changes without an actor")
    events: EventSignal = Field(
        default="span", description="how a committed change is announced on its trace"
    )
    redact: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(),
        description="names that are redacted in every event, such as email *_name: of columns and "
        "of members of metadata",
    )
    record_client_address: bool = Field(
        default=True, description="record the address of the client in events"
    )
    record_user_agent: bool = Field(
        default=True, description="record the user agent of the client in events"
    )
    record_access: bool = Field(
        default=False,
        description="record reads and refusals of the API, starts and stops as events",
    )
    key_cache_seconds: float = Field(
        default=5,
        ge=0,
        le=5,
        description="how long a process remembers a verified API key, and so accepts a revoked one",
    )
    rate_limit: Limit = Field(
        default="12000/minute",
        description="the requests of one key, such as 600/minute, or off",
    )
    failure_limit: Limit = Field(
        default="300/minute",
        description="the failed authentications of one client, or off",
    )
    limit_storage: Annotated[str, AfterValidator(_storage)] = Field(
        default="memory",
        repr=False,
        description="where both limits are counted: memory (each process for itself), or the URL "
        "of a Redis server that all processes share",
    )
    jwt_issuer: str | None = Field(default=None, description="the `iss` of accepted tokens")
    jwt_audience: str | None = Field(default=None, description="the `aud` of accepted tokens")
    jwt_jwks_url: Annotated[str, AfterValidator(_jwks_url)] | None = Field(
        default=None, description="the keys of accepted tokens (JWKS); by default none is accepted"
    )
    jwt_algorithms: Annotated[tuple[Algorithm, ...], NoDecode, BeforeValidator(_words)] = Field(
        default_factory=lambda: ("RS256", "ES256"),
        description="the accepted signature algorithms of tokens; by default RS256 and ES256",
    )
    jwt_scopes_claim: str = Field(default="scope", description="the claim with a token's scopes")
    jwt_scopes: Annotated[dict[str, str], NoDecode, BeforeValidator(_mapping)] = Field(
        default_factory=dict,
        description="scopes of tokens and ours, such as audit.read=audit:read; by default ours "
        "but `admin`, by their own names",
    )
    jwt_tenant_claim: str | None = Field(
        default=None, description="the claim with a token's tenant, required in each token if set"
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
    def privacy(self) -> Privacy:
        """Personal data that is kept out of events."""
        return Privacy(
            redact=frozenset(self.redact),
            client_address=self.record_client_address,
            user_agent=self.record_user_agent,
        )

    @property
    def is_embedded(self) -> bool:
        """True if the database is an embedded SQLite file rather than a server."""
        return make_url(self.database_url).get_backend_name() == "sqlite"


def load_settings(**given: object) -> Settings:
    """Load settings from `given`, the environment and the secret files, in this order.

    Raises:
        SettingsError: settings are invalid; one sentence for each, naming its variable.
    """
    return load(Settings, **given)
