"""Erasable values in a body: commitments, placeholders and disclosures."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from auditspan import Actor, AuditBodyError, AuditConfigError, ErasureKey, Service, Target
from auditspan.format import (
    AuditRecord,
    Disclosure,
    Subject,
    SubjectCipher,
    derived_columns,
    matches_columns,
    parse_canonical,
    read_event,
    with_values,
)

EMAIL = Disclosure(("changes", "email", "new"), Subject("user", "42"), "a@example.org", bytes(16))
LABEL = Disclosure(("actor", "label"), Subject("user", "7"), "kim", bytes(16))
RECORD = AuditRecord(
    event_id="01a22894-a538-7000-8000-000000000000",
    occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    action="user.update",
    actor=Actor.user(7, label="kim"),
    tx_id="tx",
    service=Service(name="shop"),
    changes={"email": {"old": None, "new": "a@example.org"}, "plan": {"new": "basic"}},
)


def members(*disclosures: Disclosure) -> dict[str, Any]:
    """The members of the body of a record with these erasable values."""
    return read_event(RECORD._replace(disclosures=disclosures).body())


def test_body_has_placeholders_and_commitments_in_place_of_values() -> None:
    """The text is canonical, its columns are those of the plain record, and no value is in it."""
    body = RECORD._replace(disclosures=(EMAIL, LABEL)).body()
    assert "example.org" not in body
    assert "kim" not in body
    found: Any = parse_canonical(body)
    assert ({"$erasable": True}, None) == (
        found["changes"]["email"]["new"],
        found["actor"]["label"],
    )
    assert {one.sha256: json.loads(one.entry) for one in (EMAIL, LABEL)} == found["erasable"]
    assert derived_columns(json.loads(RECORD.body())) == derived_columns(found)
    assert ("a@example.org", "kim") == (RECORD.changes["email"]["new"], RECORD.actor.label)


def test_disclosure_has_the_form_of_sd_jwt() -> None:
    """The commitment can be computed with any base64url and SHA-256."""
    content = json.loads(base64.urlsafe_b64decode(EMAIL.text + "=="))
    assert ["A" * 22, "changes.email.new", "a@example.org"] == content
    digest = hashlib.sha256(EMAIL.text.encode()).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == EMAIL.sha256


def test_values_are_shown_erased_or_locked() -> None:
    """A value without a disclosure is erased, one that cannot be read keeps its placeholder."""
    body = members(EMAIL, LABEL)
    shown = with_values(body, {EMAIL.sha256: EMAIL.text, LABEL.sha256: LABEL.text})
    assert json.loads(RECORD.body()) == shown
    erased = with_values(body, {})
    assert {"new": {"$erased": True}, "old": None} == erased["changes"]["email"]
    locked = with_values(body, {EMAIL.sha256: None, LABEL.sha256: None})
    assert {"new": {"$erasable": True}, "old": None} == locked["changes"]["email"]
    assert (None, None) == (erased["actor"]["label"], locked["actor"]["label"])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (["changes", "phone", "new"], EMAIL.text),
        (["tx_id", "x"], EMAIL.text),
        (["changes", "email", "new"], "AAAA"),
    ],
)
def test_commitment_that_does_not_fit_makes_a_body_unreadable(path: list[str], text: str) -> None:
    """Tampering is reported as such, whatever the member names."""
    entry = {"path": path, "subject": ["user", "42"]}
    with pytest.raises(AuditBodyError, match="does not fit"):
        with_values({**members(), "erasable": {"x": entry}}, {"x": text})


@pytest.mark.parametrize(
    "member", [[], {"x": 1}, {"x": {"path": ["a"], "subject": ["b", "c"]}}, {"x": {"path": []}}]
)
def test_malformed_commitments_are_refused(member: object) -> None:
    """A body whose member `erasable` has another shape is not a valid event."""
    body = json.loads(RECORD.body()) | {"erasable": member}
    with pytest.raises(AuditBodyError, match="erasable"):
        read_event(json.dumps(body))


def test_columns_of_a_body_with_commitments_are_compared_quickly() -> None:
    """The quick comparison holds for such a body as for any other."""
    target = Target(type="user", id="42")
    for disclosures in ((), (EMAIL, LABEL)):
        body = RECORD._replace(target=target, disclosures=disclosures).body()
        assert matches_columns(body, derived_columns(json.loads(body)))


def test_erasure_key_is_read_as_it_was_written() -> None:
    """A damaged file is refused, and the secret is not shown."""
    key = ErasureKey.from_secret(bytes(range(32)))
    assert key == ErasureKey.parse(key.dump())
    assert key.secret.hex() not in repr(key)
    with pytest.raises(AuditConfigError, match="invalid erasure key file"):
        ErasureKey.parse(key.dump().replace(key.key_id, "00000000"))


def test_other_keys_and_other_commitments_decrypt_nothing() -> None:
    """A disclosure is bound to its commitment, and a key of a subject to the erasure key."""
    key, other = (ErasureKey.from_secret(bytes([n]) * 32) for n in (1, 2))
    wrapped = key.wrap(b"s" * 32)
    assert (b"s" * 32, None) == (key.unwrap(wrapped), other.unwrap(wrapped))
    cipher = SubjectCipher(b"s" * 32)
    encrypted = cipher.encrypt(EMAIL.text, EMAIL.sha256, bytes(12))
    assert EMAIL.text == cipher.decrypt(encrypted, EMAIL.sha256)
    assert None is cipher.decrypt(encrypted, LABEL.sha256)
    assert None is SubjectCipher(b"t" * 32).decrypt(encrypted, EMAIL.sha256)
    assert None is cipher.decrypt(b"", EMAIL.sha256)
