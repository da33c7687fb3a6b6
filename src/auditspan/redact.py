"""What may not stand in a body as it is: secrets, and values that are too large."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection

from auditspan.canonical import Json, canonical_json, represent_document, represent_json
from auditspan.errors import AuditBodyError
from auditspan.mac import MacKey

MAX_VALUE_BYTES = 16 * 1024
"""A larger value is replaced by its length and hash."""

_SECRET_WORDS = frozenset({"card", "cvc", "cvv", "otp", "pin", "pwd", "ssn", "totp"})
"""Short words, that may stand by chance inside others: only as words of their own."""

_SECRET_PARTS = re.compile(
    "apikey|authorization|cardnumber|cookie|creditcard|credential|encrypted|passcode|passphrase|passwd"
    "|password|privatekey|secret|token"
)
"""Long words, wherever they stand: databases fold names to lower case and run words together."""

_SECRET_PAIRS = re.compile(r"(?:api|access|private|signing|encryption|secret)[_-]?key")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def is_secret_name(name: str) -> bool:
    """Whether a column of this name is redacted unless its model says otherwise.

    >>> [is_secret_name(n) for n in ("password_hash", "apiKey", "cardNumber", "pinned", "author")]
    [True, True, True, False, False]
    """
    words = {word.lower() for word in _WORDS.findall(name)}
    return (
        bool(words & _SECRET_WORDS)
        or _SECRET_PARTS.search(name.lower()) is not None
        or _SECRET_PAIRS.search(name.lower()) is not None
    )


def redact(field_name: str, value: Json, key: MacKey | None) -> Json:
    """The stand-in of a secret: that it is there, and with a key, a digest that shows a change."""
    if value is None:
        return None
    if key is None:
        return {"$redacted": True}
    fingerprint = key.fingerprint(field_name, _fingerprinted(value))
    return {"$redacted": True, "$fingerprint": fingerprint}


def redact_members(path: str, value: Json, paths: Collection[str], key: MacKey | None) -> Json:
    """A JSON value with stand-ins for its secret members: those of these paths, or named so.

    Args:
        path: where the value stands; a column's name for a whole column. A list adds nothing to it.
        value: an object or a list; anything else is given back as it is.
        paths: what is secret besides, as in ``data.card.number``.
        key: for fingerprints, in which the whole path takes part.
    """
    if isinstance(value, list):
        return [redact_members(path, item, paths, key) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$json"}:
        return _redact_document(path, value, paths, key)
    return {
        name: redact(inner, item, key)
        if inner in paths or is_secret_name(name)
        else redact_members(inner, item, paths, key)
        for name, item in value.items()
        for inner in (f"{path}.{name}",)
    }


def _redact_document(
    path: str, value: dict[str, Json], paths: Collection[str], key: MacKey | None
) -> Json:
    """As `redact_members`, for a value that stands in the body as the text of a document."""
    document = json.loads(str(value["$json"]))
    shown = redact_members(path, document, paths, key)
    return value if shown == document else represent_document(shown)


def _fingerprinted(value: Json) -> str:
    try:
        return canonical_json(value)
    except AuditBodyError:  # a member of a document, which a body holds only as text
        return canonical_json(represent_json(value))


def shorten(value: Json, limit: int = MAX_VALUE_BYTES) -> Json:
    """The value, or its length and SHA-256 where it is longer than `limit` bytes.

    Both are taken over the UTF-8 of a string, and over the canonical JSON of anything else.
    """
    text = canonical_json(value)  # also refuses what is outside the profile
    if len(text) * 4 <= limit:
        return value
    data = (value if isinstance(value, str) else text).encode()
    if len(data) <= limit:
        return value
    return {"$len": len(data), "$sha256": hashlib.sha256(data).hexdigest()}
