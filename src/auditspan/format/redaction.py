"""Redaction of secrets, and shortening of large values."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from auditspan.errors import AuditBodyError
from auditspan.format.canonical import Json, canonical_json
from auditspan.format.documents import Document, Number, Pairs, document_text, parse_document
from auditspan.format.mac import MacKey
from auditspan.format.values import represent_json

MAX_VALUE_BYTES = 16 * 1024
"""The limit above which a value is replaced by its length and hash."""

_SECRET_WORDS = frozenset({"card", "cvc", "cvv", "otp", "pin", "pwd", "ssn", "totp"})
"""Short words that other words may contain by chance; matched only as whole words."""

_SECRET_PARTS = re.compile(
    "apikey|authorization|cardnumber|cookie|creditcard|credential|encrypted|passcode|passphrase|passwd"
    "|password(?!less)|privatekey|secret(?!ar(?:y|i)|i(?:on|ve))|token(?!i[sz](?:e|ing|ation))"
)
"""Long words, matched anywhere: databases fold names to lower case and run words together."""

_FACT = (
    "(?:expir(?:ation|es|y|ed)|changed|created|issued|revoked|rotated|updated)"
    "(?:[_-]?(?:at|date|on|time|timestamp))?"
)
_ABOUT_A_SECRET = re.compile(
    rf"(?i:{_FACT}$)"
    r"|(?i:[_-](?:at|count|date|enabled|length|lifetime|on|required|ttl)$)"
    r"|(?<=[a-z0-9])(?:At|Count|Date|Enabled|Length|Lifetime|On|Required|TTL|Ttl)$"
    r"|^(?i:(?:has|is|needs|requires)[_-])|^(?:has|is|needs|requires)(?=[A-Z])"
)
"""Names of columns with facts about a secret, such as its expiry, but not the secret itself.
Cards are an exception: their expiry is secret as well."""

_PASSWORD_HASH = re.compile(
    r"\$2[abxy]\$\S|\$2\$\d\d\$\S|\$argon2(?:id|i|d)?\$"
    r"|\$(?:1|5|6|7|y|gy|apr1|s0|scrypt|bcrypt-sha256|pbkdf2[a-z0-9-]*)\$[\w./=,+$-]{16}"
    r"|^\s*(?:scrypt|pbkdf2):\w"
    r"|\bscrypt:\d+:\d+:\d+\$|\bpbkdf2:[\w-]+(?::\d+)?\$"
    r"|\b(?:pbkdf2_\w+|bcrypt\w*|scrypt|md5|sha1|sha256|sha512)\$[^\s$]*\$[\w./=+-]{16}"
    r"|^\{(?i:s?sha\d*|s?md5|crypt|bcrypt|scrypt|argon2\w*|pbkdf2[\w-]*)\}\S"
    r"|\bSCRAM-SHA-\d+\$\d+:\S"
    r"|^(?:JDJ[hieyx5]J|JGFyZ29uM|c2NyeXB0O|cGJrZGYy)"  # $2b$, $argon2, scrypt:, pbkdf2 in base64
)
_HASH_IN_TEXT = re.compile(rf"(?:\bbcrypt_sha256\$|\bargon2)?(?:{_PASSWORD_HASH.pattern})\S*")
_STARTS = ("scrypt:", "pbkdf2:", "{", "JDJ", "JGFyZ29uM", "c2NyeXB0O", "cGJrZGYy", " ", "\n", "\t")
"""The prefixes of texts without a dollar sign that may match `_PASSWORD_HASH`."""

_SECRET_PAIRS = re.compile(r"(?:api|access|private|signing|encryption|secret)[_-]?key")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Rules for which values of a column, or of its members, are secret.

    Attributes:
        paths: members that are redacted, such as ``data.card.number``.
        revealed: the column, or its members, that are shown regardless of their names and values.
        by_name: redact members with secret names.
        patterns: further secret names, in lower case and with the wildcards of `fnmatch`.
    """

    paths: frozenset[str] = frozenset()
    revealed: frozenset[str] = frozenset()
    by_name: bool = True
    patterns: frozenset[str] = frozenset()

    def is_secret(self, path: str, name: str) -> bool:
        """Check whether the member with this path and name is redacted as a whole."""
        if path in self.paths:
            return True
        looks_secret = self.by_name and is_secret_name(name)
        is_secret = looks_secret or matches_any(name, self.patterns)
        return is_secret and not self.is_revealed(path)

    def is_revealed(self, path: str) -> bool:
        """Check whether this path, or a parent of it, is shown unredacted."""
        return any(f"{path}.".startswith(f"{one}.") for one in self.revealed)


def is_secret_name(name: str) -> bool:
    """Check whether a column with this name is redacted by default.

    >>> [is_secret_name(n) for n in ("password_hash", "apiKey", "cardNumber", "pinned", "author")]
    [True, True, True, False, False]
    >>> [is_secret_name(n) for n in ("token", "token_expiration", "secretary_id")]
    [True, False, False]
    """
    words = {word.lower() for word in _WORDS.findall(name)}
    if "card" not in words and _ABOUT_A_SECRET.search(name):
        return False
    return (
        bool(words & _SECRET_WORDS)
        or _SECRET_PARTS.search(name.lower()) is not None
        or _SECRET_PAIRS.search(name.lower()) is not None
    )


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Check whether a name matches a pattern in lower case, such as ``*_phone``."""
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)


def is_password_hash(value: Json) -> bool:
    """Check whether a text contains a password hash in one of the usual notations.

    >>> [is_password_hash(v) for v in ("$2b$12$R9h/cIPz0gi", "pbkdf2:sha256:1$x$y", "$2 a day")]
    [True, True, False]
    """
    return (
        isinstance(value, str)
        and ("$" in value or value.startswith(_STARTS))  # runs for every text of every flush
        and _PASSWORD_HASH.search(value) is not None
    )


def without_password_hashes(text: str) -> str:
    """Return the text with each password hash replaced by ``(redacted)``, for messages."""
    return _HASH_IN_TEXT.sub("(redacted)", text) if is_password_hash(text) else text


def redact(field_name: str, value: Json, key: MacKey | None) -> Json:
    """Return the placeholder for a secret; with a key, it contains a fingerprint."""
    if value is None:
        return None
    if key is None:
        return {"$redacted": True}
    fingerprint = key.fingerprint(field_name, _fingerprinted(value))
    return {"$redacted": True, "$fingerprint": fingerprint}


def redact_members(path: str, value: Json, secrets: Secrets, key: MacKey | None) -> Json:
    """Return a value with password hashes and secret members replaced by placeholders.

    Args:
        path: the path of the value, without list positions; for a whole column, its name.
        value: any value of a body.
        secrets: the rules for which members are secret.
        key: the key for fingerprints, which depend on the whole path.
    """
    if isinstance(value, str):
        is_secret = is_password_hash(value) and not secrets.is_revealed(path)
        return redact(path, value, key) if is_secret else value
    if isinstance(value, list):
        return [redact_members(path, item, secrets, key) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$json"}:
        return _redact_document(path, value, secrets, key)
    return {
        name: redact(inner, item, key)
        if secrets.is_secret(inner, str(name))  # metadata with other keys is refused later
        else redact_members(inner, item, secrets, key)
        for name, item in value.items()
        for inner in (f"{path}.{name}",)
    }


def _redact_document(
    path: str, value: dict[str, Json], secrets: Secrets, key: MacKey | None
) -> Json:
    """Redact members of a document that is stored in the body as text."""
    try:
        document = parse_document(str(value["$json"]))
    except ValueError:  # a member of metadata that has this name, not a document of ours
        return value
    shown = _redact_inside(path, document, secrets, key)
    if shown == document:
        return value
    is_placeholder = isinstance(document, str)
    return json.loads(document_text(shown)) if is_placeholder else {"$json": document_text(shown)}


def _redact_inside(path: str, value: Document, secrets: Secrets, key: MacKey | None) -> Document:
    """Redact a value inside a document, where `$json` is a member like any other."""
    if isinstance(value, list) and not isinstance(value, Pairs):
        return [_redact_inside(path, item, secrets, key) for item in value]
    if isinstance(value, dict | Pairs):
        pairs = value.items() if isinstance(value, dict) else value
        shown = [(n, _redact_member(f"{path}.{n}", n, item, secrets, key)) for n, item in pairs]
        return dict(shown) if isinstance(value, dict) else Pairs(shown)
    if isinstance(value, Number) or not is_password_hash(value) or secrets.is_revealed(path):
        return value
    return _redacted_inside(path, value, key)


def _redact_member(
    path: str, name: str, value: Document, secrets: Secrets, key: MacKey | None
) -> Document:
    if secrets.is_secret(path, name):
        return _redacted_inside(path, value, key)
    return _redact_inside(path, value, secrets, key)


def _redacted_inside(path: str, value: Document, key: MacKey | None) -> Document:
    found: Document = redact(path, json.loads(document_text(value)), key)  # type: ignore[assignment]
    return found


def _fingerprinted(value: Json) -> str:
    try:
        return canonical_json(value)
    except AuditBodyError:  # a member of a document that is stored as text
        return canonical_json(represent_json(value))


def shorten(value: Json, limit: int = MAX_VALUE_BYTES) -> Json:
    """Return the value, or its length and SHA-256 if it is longer than `limit` bytes.

    Both are computed over the UTF-8 of a string, and over the canonical JSON of any other value.
    """
    text = canonical_json(value)  # also refuses values outside the profile
    if len(text) * 4 <= limit:
        return value
    data = (value if isinstance(value, str) else text).encode()
    if len(data) <= limit:
        return value
    return {"$len": len(data), "$sha256": hashlib.sha256(data).hexdigest()}
