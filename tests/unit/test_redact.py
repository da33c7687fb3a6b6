"""Secrets and large values: what a body shows of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from auditspan.errors import AuditBodyError
from auditspan.format.canonical import canonical_json
from auditspan.format.mac import MacKey
from auditspan.format.redaction import (
    MAX_VALUE_BYTES,
    Secrets,
    is_password_hash,
    is_secret_name,
    redact,
    redact_members,
    shorten,
    without_password_hashes,
)
from auditspan.format.values import represent, represent_json

KEY = MacKey.from_secret(bytes(range(32)))
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
WORDS = [
    "password",
    "token",
    "secret",
    "api_key",
    "authorization",
    "cookie",
    "card",
    "passwd",
    "pwd",
    "credentials",
    "private_key",
    "cvv",
]


def spellings(word: str) -> set[str]:
    """The ways in which a column of this word is named."""
    parts = word.split("_")
    camel = parts[0] + "".join(part.capitalize() for part in parts[1:])
    made = {word, word.upper(), camel, camel[0].upper() + camel[1:], word.replace("_", "-")}
    made |= {f"user_{word}", f"{word}_hash", f"{camel}Hash", f"{word}_2", f"{word}2", f"_{word}"}
    return made | {f"old_{word}_encrypted", f"user{camel[0].upper()}{camel[1:]}"}


@pytest.mark.parametrize("word", WORDS)
def test_a_secret_word_is_seen_in_every_spelling(word: str) -> None:
    """Snake case, camel case, capitals, prefixes, suffixes and digits hide nothing."""
    assert [] == sorted(name for name in spellings(word) if not is_secret_name(name))


@pytest.mark.parametrize(
    "name",
    [
        "passwordhash",
        "userpassword",
        "accesstoken",
        "authtoken",
        "apikey",
        "APIKEY",
        "clientsecret",
        "secretkey",
        "privatekey",
        "cardnumber",
        "creditcard",
        "sessioncookie",
        "OAuthToken",
        "JWTToken",
        "accessTokenV2",
    ],
)
def test_a_secret_word_is_seen_where_words_run_together(name: str) -> None:
    """Databases fold names to lower case: a name without separators says secret all the same."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "username",
        "email",
        "full_name",
        "author",
        "author_id",
        "pinned",
        "keyboard",
        "key",
        "primary_key",
        "foreign_key",
        "created_at",
        "version",
        "description",
        "passenger",
        "compass",
        "opinion",
        "address",
    ],
)
def test_an_ordinary_name_is_not_secret(name: str) -> None:
    """Words that auditors want to read are not hidden because another word is inside them."""
    assert not is_secret_name(name)


@given(TEXT)
def test_a_redacted_value_never_appears(value: str) -> None:
    """The stand-in says that a value is there, and holds nothing of it."""
    planted = f"planted-{value}-secret"
    for key in (KEY, None):
        shown = canonical_json(redact("token", planted, key))
        assert "planted-" not in shown
        assert hashlib.sha256(planted.encode()).hexdigest() not in shown


@given(st.sampled_from(["a", "b", "1", 1, True, ["a"], {"a": 1}]), st.text(max_size=2))
def test_the_stand_in_is_that_of_the_format(value: Any, name: str) -> None:
    """A marker and a keyed fingerprint; without a key, only the marker."""
    with_key = redact(name, value, KEY)
    assert isinstance(with_key, dict)
    assert {"$redacted", "$fingerprint"} == set(with_key)
    assert with_key["$redacted"] is True
    assert {"$redacted": True} == redact(name, value, None)


@given(*[st.sampled_from(["a", "b", "1", 1, True, "true", None, "null", ["a"], {"a": 1}])] * 2)
def test_a_change_of_a_redacted_value_is_visible(one: Any, other: Any) -> None:
    """Equal values have equal fingerprints, different ones (1, "1" and true too) different ones."""
    same = canonical_json(one) == canonical_json(other)
    assert same == (redact("token", one, KEY) == redact("token", other, KEY))


def test_a_fingerprint_depends_on_the_key() -> None:
    """Another key gives another fingerprint: a guess is not checkable without the key."""
    other = MacKey.from_secret(bytes(32))
    assert redact("token", "0000", KEY) != redact("token", "0000", other)


@pytest.mark.parametrize("character", ["a", "é", "€", "😀"])
def test_the_limit_is_in_bytes_and_the_last_byte_counts(character: str) -> None:
    """A value of exactly 16 KiB stands; one byte more is length and hash of its UTF-8."""
    fits = character * (MAX_VALUE_BYTES // len(character.encode()))
    fits += "x" * (MAX_VALUE_BYTES - len(fits.encode()))
    longer = fits + "y"
    digest = hashlib.sha256(longer.encode()).hexdigest()
    assert fits == shorten(fits)
    assert {"$len": 16385, "$sha256": digest} == shorten(longer)


@given(st.lists(TEXT, max_size=6), st.integers(16, 64))
def test_a_large_structure_is_length_and_hash_of_its_canonical_json(
    value: list[Any], limit: int
) -> None:
    """An array or object over the limit is shown by its canonical JSON."""
    text = rfc8785.dumps(value)
    expected: Any = value
    if len(text) > limit:
        expected = {"$len": len(text), "$sha256": hashlib.sha256(text).hexdigest()}
    assert expected == shorten(value, limit)


HASHES = [
    "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
    "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
    "$2y$10$.vGA1O9wmRjrwAVXD98HNOgsNpDczlqm3Jq7KnEd1rVAGv3Fykk1a",
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b1dWRWJTmaaJObG",
    "$argon2i$v=19$m=16,t=2,p=1$c29tZXNhbHQ$IMit9qkFULCMA",
    "scrypt:32768:8:1$zVEsGmdG2bXoQaJP$8ca1f4f0a7f6b1f5c2a0",
    "pbkdf2:sha256:600000$Jm8vV2tU0jK1aQ8e$5d1a2f0b8a7c",
    "pbkdf2_sha256$870000$6s0PNEmYTT7Y9h8UGmW1fW$M2m2oWZJ3x4bC0V7kYQx0aQ5l8n3rB9d2c1Z0Y=",
    "bcrypt_sha256$$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
    "argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdHNhbHQ$zFhZ0pQ8nq",
    "sha1$seasalt$cff36ea83f5706ce9aa7454e63e431fc726b2dc8",
    "$1$etNnh7FA$OlM7eljE/B7F1J4XYNnk81",
    "$5$MnfsQ4iN$ZMTppKN16y/tIsUYs/obHlhdP.Os80yXhTurpBMUbA5",
    "$6$rounds=5000$usesomesillystri$D4IrlXatmP7rx3P3InaxBeoomnAihCKRVQAr/36eYUvV8SUHC7jx",
    "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
    "$pbkdf2-sha256$29000$N2YMIWQsBWBMae09x1jrPQ$1t8iyB2A.WF/Z5JZv.lfCIhXXN33N23OSgQYThBYRfk",
    "{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3",
    "{bcrypt}$2a$10$dXJ3SW6G7P50lGmMkkmwe.20cQQubK3.HZWzG3YB1tlRy.fqvM/BG",
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
    "JDJiJDEyJFI5aC9jSVB6MGdpLlVSTk5YM2toMk9QU1Q5L1BnQmtxcXV6aS5TczdLSVVnTzJ0MGpXTVVX",
]


@pytest.mark.parametrize("value", HASHES)
def test_password_hash_is_recognised(value: str) -> None:
    """The notations of crypt, PHC, Werkzeug, Django, LDAP, Spring and PostgreSQL, and base64."""
    assert is_password_hash(value)


@pytest.mark.parametrize("value", [value for value in HASHES if value[0] not in "{J"])
def test_password_hash_is_recognised_inside_of_a_text(value: str) -> None:
    """A document that is kept as text hides no hash, and its words remain in a reason."""
    assert is_password_hash(f'{{"pw": "{value}"}}')
    assert "it was (redacted) once" == without_password_hashes(f"it was {value} once")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "$",
        "$2",
        "costs $2 or $5$ each",
        "use $2b$ hashes",
        "scrypt: a key derivation function",
        "pbkdf2: slow",
        "scrypted",
        "{sha}",
        "{json}",
        "$1,000$ to $6,000$",
        "md5$",
        "JDJ",
        "2b$12$",
        "US$argon",
        7,
        None,
        ["$2b$12$R9h/cIPz0gi.URNNX3kh2O"],
    ],
    ids=repr,
)
def test_ordinary_value_is_not_redacted(value: Any) -> None:
    """Prices, prose about hashing and values of other types stay readable."""
    assert not is_password_hash(value)


@pytest.mark.parametrize(
    "name",
    [
        "token_expiration",
        "tokenExpiration",
        "tokenexpires",
        "token_expires_at",
        "tokenExpiresAt",
        "access_token_expiry",
        "password_changed_at",
        "passwordUpdatedOn",
        "token_count",
        "tokenCount",
        "otp_enabled",
        "has_password",
        "isEncrypted",
        "secretary_id",
        "secretaryId",
        "secretariat",
        "secretion_rate",
        "tokenizer",
        "tokenised_text",
        "passwordless_login",
    ],
)
def test_name_about_a_secret_is_not_secret(name: str) -> None:
    """A date, a number or a flag about a secret, and a word that contains one, are shown."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "expiration_token",
        "secretary_password",
        "tokenize_secret",
        "card_expiry",
        "cardExpirationDate",
        "created_password",
        "token_at_rest",
        "EncryptedType",
        "password_reset_token",
        "tokens",
        "secrets",
        "hash_token",
    ],
)
def test_name_of_a_secret_that_mentions_a_fact_is_secret(name: str) -> None:
    """Only the last word says that a column is about a secret."""
    assert is_secret_name(name)


@pytest.mark.parametrize("key", [KEY, None])
@pytest.mark.parametrize("beside", [1.5, 2**60, float("inf"), "\0", "\ud800", {"$x": 1}, {"ä": 1}])
@pytest.mark.parametrize("secret", ["hunter2", 0.25, {"inner": 0.25}, ["\0"]])
def test_secret_members_are_redacted_in_documents_that_a_body_holds_as_text(
    key: MacKey | None, beside: Any, secret: Any
) -> None:
    """One value that does not fit the profile of a body does not show the others."""
    document = represent_json({"a": [{"password": secret, "beside": beside}]})
    assert isinstance(document, dict)
    assert ["$json"] == list(document)
    shown = redact_members("data", document, Secrets(), key)
    assert isinstance(shown, dict)
    read = json.loads(str(shown["$json"]))["a"][0]
    assert read["password"]["$redacted"]
    assert represent_json(beside) == represent_json(read["beside"])
    assert (key is not None) == ("$fingerprint" in read["password"])


@pytest.mark.parametrize("key", [KEY, None])
def test_password_hash_beside_a_character_that_no_body_holds_is_redacted(
    key: MacKey | None,
) -> None:
    """A text, or a document, with a NUL in it hides no hash either."""
    planted = "$2b$12$planted\0"
    text = redact_members("note", represent(planted), Secrets(), key)
    document = redact_members("data", represent_json({"a": planted, "b": "\0"}), Secrets(), key)
    assert redact("note", represent(planted), key) == text
    assert "planted" not in canonical_json([text, document])


@pytest.mark.parametrize("text", ["x", "[1,", ""])
def test_member_named_like_a_document_is_accepted(text: str) -> None:
    """Metadata may have a member `$json` of its own."""
    metadata: Any = {"a": {"$json": text}}
    assert metadata == redact_members("metadata", metadata, Secrets(), None)


def test_each_duplicate_of_a_secret_member_is_redacted() -> None:
    """JSON allows them; one that other parsers pass over is a secret all the same."""
    document: Any = {"$json": '{"password":"planted","password":null,"n":1.50,"n":2}'}
    shown = redact_members("data", document, Secrets(), None)
    text = '{"password":{"$redacted":true},"password":null,"n":1.50,"n":2}'
    assert {"$json": text} == shown


def test_keys_that_are_not_text_are_left_to_the_body() -> None:
    """It refuses them with a sentence."""
    metadata: Any = {"a": {1: 2}}
    shown = redact_members("metadata", metadata, Secrets(), None)
    with pytest.raises(AuditBodyError, match="invalid key 1"):
        canonical_json(shown)
