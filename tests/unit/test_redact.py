"""Secrets and large values: what a body shows of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from auditspan.canonical import canonical_json, represent_json
from auditspan.mac import MacKey
from auditspan.redact import MAX_VALUE_BYTES, is_secret_name, redact, redact_members, shorten

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
    """What auditors want to read is not hidden by a word that happens to be inside another."""
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
    shown = redact_members("data", document, (), key)
    assert isinstance(shown, dict)
    read = json.loads(str(shown["$json"]))["a"][0]
    assert read["password"]["$redacted"]
    assert represent_json(beside) == represent_json(read["beside"])
    assert (key is not None) == ("$fingerprint" in read["password"])
