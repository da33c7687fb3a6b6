"""Headers that an application gives to every request, and removal of secrets from messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_plus, urlsplit

from auditspan.errors import AuditConfigError

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset({"content-type", "content-encoding", "content-length", "transfer-encoding"})
"""Headers that the sender sets itself; given ones are ignored."""

_SHORTEST = 4
"""The length from which a word of a header counts as a secret."""


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers in lower case, without those that the sender sets itself.

    They are checked here, since a header that fails on sending would look like a bad record.

    Raises:
        AuditConfigError: a header is invalid.
    """
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise AuditConfigError(
                f"Invalid header {name!r} for the audit receiver: a name must be a token, and a "
                "value must have no line breaks, control characters or characters beyond Latin-1."
            )
    lowered = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lowered.items() if name not in _OURS}


def shown_url(url: str) -> str:
    """Return a URL for messages: without its query, which may hold a key of the receiver."""
    return url.partition("?")[0]


def query_values(url: str) -> dict[str, str]:
    """Return the values of a URL's query, as they are sent and decoded, for `Redaction`."""
    sent = [member.partition("=")[2] for member in urlsplit(url).query.split("&")]
    return {str(place): text for place, text in enumerate([*sent, *map(unquote_plus, sent)])}


class Redaction:
    """Removal of header values from texts that a receiver answers, which may repeat them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        words = {word for value in headers.values() for word in (value, *value.split())}
        self._secrets = sorted((one for one in words if len(one) >= _SHORTEST), key=len)[::-1]

    def __call__(self, text: str) -> str:
        """Return the text without the values, and without single words of them."""
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text
