"""The record: the members of body version 1, as the format page has them, below 64 KiB."""

from __future__ import annotations

import hashlib
import inspect
import json
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from auditspan.errors import AuditBodyError, AuditConfigError
from auditspan.format.record import AuditRecord
from auditspan.format.record_parts import Actor, Request, Service, Target

LIMIT = 64 * 1024
VALUE_LIMIT = 16 * 1024
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MINIMAL = AuditRecord(
    event_id="017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    action="user.update",
    actor=Actor.user(7, label="kim"),
    tx_id="017f22e2-79b0-7cc3-98c4-dc0c0c073990",
    service=Service(name="shop"),
)
FULL = MINIMAL._replace(
    reason="asked for",
    outcome="failure",
    on_behalf_of=Actor.user("b", label="Bo"),
    target=Target(type="user", id="42", version=3),
    changes={"full_name": {"old": "Kim", "new": "Kim Park"}},
    request=Request(
        id="r-1",
        client_address="198.51.100.7",
        user_agent="curl/8",
        method="PATCH",
        route="/v1/users/<id>",
    ),
    trace_id=TRACE_ID,
    span_id=SPAN_ID,
    change_id=17,
    tenant="acme",
    service=Service(name="shop", version="1.2", instance="a"),
    metadata={"batch": 7},
)
MINIMAL_MEMBERS: dict[str, Any] = {
    "v": 1,
    "event_id": "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    "occurred_at": "2026-01-01T00:00:00.000000Z",
    "action": "user.update",
    "outcome": "success",
    "reason": None,
    "actor": {"type": "user", "id": "7", "label": "kim"},
    "on_behalf_of": None,
    "target": None,
    "changes": {},
    "request": None,
    "trace_id": None,
    "span_id": None,
    "tx_id": "017f22e2-79b0-7cc3-98c4-dc0c0c073990",
    "change_id": None,
    "tenant": None,
    "service": {"name": "shop", "version": None, "instance": None},
    "metadata": {},
}
FULL_MEMBERS: dict[str, Any] = MINIMAL_MEMBERS | {
    "outcome": "failure",
    "reason": "asked for",
    "on_behalf_of": {"type": "user", "id": "b", "label": "Bo"},
    "target": {"type": "user", "id": "42", "version": 3},
    "changes": {"full_name": {"old": "Kim", "new": "Kim Park"}},
    "request": {
        "id": "r-1",
        "client_address": "198.51.100.7",
        "user_agent": "curl/8",
        "method": "PATCH",
        "route": "/v1/users/<id>",
    },
    "trace_id": TRACE_ID,
    "span_id": SPAN_ID,
    "change_id": 17,
    "tenant": "acme",
    "service": {"name": "shop", "version": "1.2", "instance": "a"},
    "metadata": {"batch": 7},
}
SIZES = st.sampled_from([0, 1, 100, 4000, 16_000, 16_385, 70_000, 300_000])
TEXT = st.builds(lambda size, character: character * size, SIZES, st.sampled_from(['"', "é", "😀"]))


@pytest.mark.parametrize(
    ("record", "members"), [(MINIMAL, MINIMAL_MEMBERS), (FULL, FULL_MEMBERS)], ids=["none", "all"]
)
def test_the_body_has_exactly_the_members_of_the_format(
    record: AuditRecord, members: dict[str, Any]
) -> None:
    """Every member of version 1 is there, with null for what is not known, and nothing else."""
    assert members == json.loads(record.body())
    assert rfc8785.dumps(members).decode() == record.body()


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        (Actor.user(7), ("user", "7")),
        (Actor.user("7", label="kim"), ("user", "7")),
        (Actor.service("billing"), ("service", "billing")),
        (Actor.system("nightly"), ("system", "nightly")),
        (Actor.anonymous(), ("anonymous", None)),
        (Actor.unknown(), ("unknown", None)),
    ],
)
def test_actor_types_are_distinct(actor: Actor, expected: tuple[str, str | None]) -> None:
    """Anonymous, system and unknown are three things; an id is always a string."""
    shown = json.loads(MINIMAL._replace(actor=actor).body())["actor"]
    assert expected == (shown.pop("type"), shown.pop("id"))
    assert {"label": actor.label} == shown


def test_the_time_is_in_utc_whatever_the_zone() -> None:
    """One instant has one text."""
    elsewhere = MINIMAL.occurred_at.astimezone(timezone(timedelta(hours=9)))
    assert MINIMAL.body() == MINIMAL._replace(occurred_at=elsewhere).body()


@settings(deadline=None)
@given(
    st.dictionaries(st.text("abc_", min_size=1, max_size=30), st.tuples(TEXT, TEXT), max_size=60)
)
def test_a_body_is_always_below_64_kib(values: dict[str, tuple[str, str]]) -> None:
    """However many columns of whatever size changed, the body fits, and no column is left out."""
    changes: Any = {name: {"old": old, "new": new} for name, (old, new) in values.items()}
    body = FULL._replace(changes=changes).body()
    assert len(body.encode()) < LIMIT
    assert set(changes) == set(json.loads(body)["changes"])
    assert rfc8785.dumps(json.loads(body)).decode() == body


@given(st.dictionaries(st.text("abc", min_size=1), TEXT, max_size=9), TEXT)
def test_long_value_is_replaced_by_its_length_and_hash(
    metadata: dict[str, str], value: str
) -> None:
    """A copy of a shortened value can be checked: length and SHA-256 of its UTF-8."""
    changes: Any = {"bio": {"new": value}}
    body = json.loads(MINIMAL._replace(changes=changes, metadata=metadata).body())
    stands = body["changes"]["bio"]["new"]
    raw = value.encode()
    short: Any = {"$len": len(raw), "$sha256": hashlib.sha256(raw).hexdigest()}
    assert stands in (value, short)
    assert len(raw) <= VALUE_LIMIT or stands == short
    assert metadata.keys() == body["metadata"].keys()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: {"reason": text},
        lambda text: {"actor": Actor.user(7, label=text)},
        lambda text: {"actor": Actor.user(text)},
        lambda text: {"on_behalf_of": Actor.user(text)},
        lambda text: {"request": Request(user_agent=text)},
        lambda text: {"request": Request(id=text)},
        lambda text: {"target": Target(type="user", id=text)},
        lambda text: {"tenant": text},
        lambda text: {"service": Service(name=text)},
        lambda text: {"metadata": {"a": text}},
        lambda text: {"metadata": {str(n): text[: 4 * n] for n in range(400)}},
        lambda text: {"changes": {str(n): {"new": text[: 4 * n]} for n in range(2000)}},
    ],
)
@pytest.mark.parametrize("size", [16_384, 16_385, 65_000, 70_000, 1_000_000])
def test_no_member_makes_a_body_too_long(change: Any, size: int) -> None:
    """Whichever member is huge: the body is below 64 KiB, or refused with a clear error."""
    record = FULL._replace(**change("é" * (size // 2)))
    try:
        body = record.body()
    except AuditBodyError as refusal:
        assert len(str(refusal)) < 1000  # noqa: PT017 - both ends are allowed, this is one of them
    else:
        assert len(body.encode()) < LIMIT


def test_refused_text_of_an_actor_or_a_request_is_named() -> None:
    """The error says which member is outside the profile."""
    for part, name in (
        (Actor.user(1, label="\0"), "label"),
        (Request(user_agent="\0"), "user_agent"),
    ):
        with pytest.raises(AuditBodyError, match=f"{name} cannot be in an audit body"):
            _ = part.text


@pytest.mark.parametrize("value", [1.5, 2**53, "a\0", "\ud800", {"a\0": 1}, b"a"], ids=repr)
@pytest.mark.parametrize("member", ["metadata", "changes", "reason"])
def test_value_outside_the_profile_is_refused(member: str, value: Any) -> None:
    """A value that would be altered by being written is refused before anything is written."""
    held: Any = {"metadata": {"a": value}, "changes": {"a": {"new": value}}, "reason": value}
    with pytest.raises(AuditBodyError):
        MINIMAL._replace(**{member: held[member]}).body()


class Autumn(tzinfo):
    """A zone in the night in which its clocks go back from 3 to 2."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1 if moment is not None and moment.fold else 2)

    def dst(self, _moment: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, _moment: datetime | None) -> str:
        return "autumn"


def test_an_hour_that_a_clock_repeats_is_two_hours() -> None:
    """Its times are equal to Python, and are not the same instants."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=Autumn())
    both = (first, first.replace(fold=1))
    times = [json.loads(MINIMAL._replace(occurred_at=one).body())["occurred_at"] for one in both]
    assert ["2026-10-25T00:30:00.000000Z", "2026-10-25T01:30:00.000000Z"] == times


def test_a_naive_time_is_refused() -> None:
    """A time without a zone is refused: it is not an instant."""
    with pytest.raises((AuditBodyError, ValueError)):
        MINIMAL._replace(occurred_at=datetime(2026, 1, 1)).body()  # noqa: DTZ001 - the claim


@pytest.mark.parametrize(
    "part", [Actor.user(7, label="kim"), Service(name="shop"), Request(id="r")]
)
def test_a_text_that_two_threads_make_is_the_same(part: Actor | Service | Request) -> None:
    """One makes it while that of the other stands among the attributes already: the same text."""
    first = part.text
    assert first == inspect.getattr_static(type(part), "text").func(part)


@pytest.mark.parametrize("id_", [None, "", " ", b"7", True, object()])
def test_actor_without_a_usable_id_is_refused(id_: object) -> None:
    """A user without an id, or with one that identifies no user, is refused."""
    with pytest.raises(AuditConfigError, match=r"Actor\.anonymous\(\)"):
        Actor.user(id_)


@pytest.mark.parametrize("make", [Actor.service, Actor.system])
@pytest.mark.parametrize("name", [None, "", " "])
def test_program_without_a_name_is_refused(make: Any, name: str | None) -> None:
    """A service or a job is recorded by its name."""
    with pytest.raises(AuditConfigError, match="invalid actor name"):
        make(name)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"reason": "r" * LIMIT}, "reason"),
        ({"actor": Actor.user(7, label="l" * LIMIT)}, "actor"),
        ({"tenant": "t" * LIMIT}, "tenant"),
        ({"request": Request(route="/" * LIMIT)}, "request"),
        ({"metadata": {f"m{n}": "v" * 60 for n in range(1500)}}, "metadata"),
        ({"changes": {f"c{n}": {"new": n} for n in range(9000)}}, "changes"),
    ],
    ids=["reason", "actor", "tenant", "request", "metadata", "changes"],
)
def test_overlong_body_is_refused_for_its_longest_member(
    changed: dict[str, Any], named: str
) -> None:
    """The error names the member that makes the body too long, and not another one."""
    others = {"reason", "actor", "tenant", "request", "metadata", "changes"} - {named}
    with pytest.raises(AuditBodyError, match=f"over 64 KiB.*{named}") as caught:
        FULL._replace(**changed).body()
    assert set() == {name for name in others if name in caught.value.message}
