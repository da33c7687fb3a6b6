"""A further collector that gets every audit record: its name, its address, its certificates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from auditspan.delivery import Compression

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_TAKEN = frozenset({"otlp", "file", "console"})
"""The names of the sinks that AUDITSPAN_SINK chooses from."""

DEFAULT_TIMEOUT = 10.0
MAX_TIMEOUT = 600.0

_FORM = (
    'it must be a JSON object of names and URLs, as in {"archive": "https://host:4319/v1/audit"}'
)


def http_url(text: str) -> str:
    """The URL, if it is one that can be posted to."""
    parts = urlsplit(text)
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must not hold a user or a password: use a client certificate")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("it must be a URL such as http://127.0.0.1:4319/v1/audit")
    return text


def absolute(path: Path) -> Path:
    """The path from where the process started; a server may change its directory later."""
    return path.expanduser().absolute()


HttpUrl = Annotated[str, AfterValidator(http_url)]
AbsolutePath = Annotated[Path, AfterValidator(absolute)]


class Destination(BaseModel):
    """A collector's audit receiver.

    Attributes:
        endpoint: its whole URL.
        certificate: PEM file of the authorities that may have signed its certificate.
        client_certificate: PEM file of the certificate to show to it.
        client_key: PEM file of that one's key.
        headers: sent with every request.
        timeout: seconds for one exchange.
        compression: of the requests.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: HttpUrl
    certificate: AbsolutePath | None = None
    client_certificate: AbsolutePath | None = None
    client_key: AbsolutePath | None = None
    headers: Mapping[str, str] = Field(default_factory=dict, repr=False)
    timeout: float = Field(default=DEFAULT_TIMEOUT, gt=0, le=MAX_TIMEOUT)
    compression: Compression = "none"


def parse_headers(value: object) -> object:
    """Headers from a list such as ``Authorization=Bearer%20x,X-Tenant=a``.

    The form is that of OTEL_EXPORTER_OTLP_HEADERS. No value is repeated by an error.
    """
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not all("=" in part for part in parts):
        raise ValueError("it must be a list such as Authorization=Bearer%20x,X-Tenant=a")
    pairs = [part.split("=", 1) for part in parts]
    return {unquote(name).strip().lower(): unquote(text).strip() for name, text in pairs}


def parse_destinations(value: object) -> object:
    """Destinations by name, from the JSON text of a setting; a URL alone is its endpoint."""
    found = _object(value)
    for name in found:
        if name in _TAKEN or not _NAME.fullmatch(name):
            raise ValueError(
                "a name has small letters, digits and hyphens, at most 31, and is not otlp, file "
                "or console"
            )
    return {
        name: {"endpoint": given} if isinstance(given, str) else given
        for name, given in found.items()
    }


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(_FORM)
    return found


def _object(value: object) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=_without_duplicates)
        except ValueError:
            raise ValueError(_FORM) from None
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError(_FORM)
    return value
