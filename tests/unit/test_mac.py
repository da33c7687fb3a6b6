"""The key of a trail: it authenticates bodies, fingerprints secrets and never shows itself."""

from __future__ import annotations

import copy
import hashlib
import hmac
import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditspan.errors import AuditConfigError
from auditspan.format import SECRET_BYTES, MacKey

SECRET = bytes(range(SECRET_BYTES))
KEY = MacKey.from_secret(SECRET)
OTHER = MacKey.from_secret(bytes(SECRET_BYTES))
SECRETS = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)
BODIES = st.text(st.characters(exclude_categories=["Cs"]))


@given(SECRETS, BODIES)
def test_the_mac_is_hmac_sha256_of_the_body(secret: bytes, body: str) -> None:
    """The MAC is HMAC-SHA256 over the UTF-8 of the body, in lower-case hexadecimal."""
    expected = hmac.new(secret, body.encode(), hashlib.sha256).hexdigest()
    assert expected == MacKey.from_secret(secret).sign(body)
    assert MacKey.from_secret(secret).verifies(body, expected)


@pytest.mark.parametrize(
    "mac",
    ["", "0" * 64, OTHER.sign("body"), KEY.sign("Body"), KEY.sign("body")[:-1], "é" * 64, "\0"],
    ids=["empty", "zeros", "other key", "other body", "cut", "not ASCII", "NUL"],
)
def test_any_other_mac_is_refused(mac: str) -> None:
    """Anything but the MAC of this body under this key does not verify, and crashes nothing."""
    assert not KEY.verifies("body", mac)


@given(SECRETS)
def test_a_key_file_can_be_read_back(secret: bytes) -> None:
    """A key comes back from its file, and equal secrets have equal ids."""
    key = MacKey.from_secret(secret)
    assert MacKey.parse(key.dump()) == key == MacKey.parse(key.dump() + "\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auditspan-mac-v1",
        KEY.dump().upper(),
        KEY.dump().replace("v1", "v2"),
        KEY.dump().replace(KEY.key_id, OTHER.key_id),
        KEY.dump()[:-4],
        KEY.dump() + KEY.dump(),
        "x" + KEY.dump(),
    ],
    ids=["empty", "no key", "capitals", "version", "id of another", "cut", "two", "prefix"],
)
def test_damaged_key_file_is_refused_without_its_content(text: str) -> None:
    """A damaged key file is refused with a sentence, and the sentence has nothing of the secret."""
    with pytest.raises(AuditConfigError) as refusal:
        MacKey.parse(text)
    assert SECRET.hex()[8:40] not in str(refusal.value).lower()


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_secret_of_another_length_is_refused(size: int) -> None:
    """A key is 32 bytes; a shorter one would be guessable."""
    with pytest.raises(AuditConfigError):
        MacKey.from_secret(bytes(size))


def test_the_secret_is_not_shown_by_the_key() -> None:
    """Neither repr nor str nor the id of a key holds the secret."""
    shown = f"{KEY!r} {KEY} {KEY.key_id}"
    assert not [form for form in (repr(SECRET), SECRET.hex()) if form in shown]
    assert set(KEY.key_id) <= set(string.hexdigits.lower())
    assert not SECRET.hex().startswith(KEY.key_id)


@given(BODIES, BODIES)
def test_fingerprints_are_equal_for_equal_values_only(one: str, other: str) -> None:
    """A change of a secret is visible, and the same secret looks the same."""
    assert (one == other) == (KEY.fingerprint("token", one) == KEY.fingerprint("token", other))


@given(BODIES)
def test_a_guess_cannot_be_checked_without_the_key(value: str) -> None:
    """A fingerprint depends on the key and the column; it is neither a plain hash nor a MAC."""
    shown = KEY.fingerprint("token", value)
    guesses = {
        OTHER.fingerprint("token", value),
        KEY.fingerprint("password", value),
        KEY.sign(value),
        hashlib.sha256(value.encode()).hexdigest(),
    }
    assert not [guess for guess in guesses if guess.startswith(shown) or shown in guess]


def test_column_and_value_do_not_run_together() -> None:
    """The end of a column's name is not the beginning of its value."""
    assert KEY.fingerprint("a", "bc") != KEY.fingerprint("ab", "c")


def test_a_key_that_has_signed_can_be_copied() -> None:
    """It is pickled for another process, and deep-copied with an application's settings."""
    mac = KEY.sign("body")
    copies = [pickle.loads(pickle.dumps(KEY)), copy.deepcopy(KEY)]  # noqa: S301 (our own)
    assert [KEY, KEY] == copies
    assert [mac, mac] == [one.sign("body") for one in copies]
