"""The columns of a body, read from its text: quicker than parsing it, and never wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from auditspan.format.canonical import canonical_json
from auditspan.format.columns import COLUMNS, derived_columns, matches_columns
from auditspan.format.record import AuditRecord
from auditspan.format.record_parts import Actor, Request, Service, Target

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
EVENT_ID = "017f22e2-79b0-7cc3-98c4-000000000001"
HEAD = '{"action":"user.update","actor":{"id":"7","label":"kim","type":"user"},"changes":{'
NAMES = [f',"{name}":"' for name in (*COLUMNS, "id", "type", "label", "changes", "metadata")]

#: Text as an attacker, or a user, chooses it: with pieces of bodies in it.
texts = st.lists(
    st.sampled_from(['"', "\\", "x", "kim", "None", "null", '"},', '},"changes":', HEAD, *NAMES])
    | st.text(max_size=3),
    max_size=6,
).map(lambda parts: "".join(parts).replace("\x00", ""))
documents = st.recursive(
    st.none() | st.integers(0, 9) | texts,
    lambda inner: st.dictionaries(
        st.sampled_from([*COLUMNS, "id", "type", "label", "version", "changes", "metadata"]), inner
    ),
    max_leaves=8,
)


values = st.none() | texts | st.integers(-1, 1) | st.binary(max_size=2)


def record(**given: Any) -> AuditRecord:
    """A record with every member, and others where they are given."""
    members: dict[str, Any] = {
        "event_id": EVENT_ID,
        "occurred_at": MOMENT,
        "action": "user.update",
        "actor": Actor.user(7, label="kim"),
        "tx_id": "tx",
        "service": Service(name="shop"),
        "target": Target(type="user", id="42", version=3),
        "changes": {"n": {"old": 1, "new": 2}},
        "change_id": 17,
        "request": Request(id="r", method="PATCH", route="/v1/users/<id>"),
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "tenant": "acme",
    }
    return AuditRecord(**members | given)


@st.composite
def records(draw: st.DrawFn) -> AuditRecord:
    """Records in which an attacker has chosen every text and document."""
    maybe = st.none() | texts
    return record(
        action=draw(texts),
        actor=Actor(type="user", id=draw(maybe), label=draw(maybe)),
        on_behalf_of=draw(st.none() | st.builds(Actor.service, texts.filter(str.strip))),
        outcome=draw(st.sampled_from(["success", "failure", "unknown"])),
        reason=draw(maybe),
        tx_id=draw(texts),
        target=draw(
            st.none()
            | st.builds(Target, type=texts, id=maybe, version=st.none() | st.integers(0, 2**53 - 1))
        ),
        changes={"document": {"new": draw(documents)}},
        change_id=draw(st.none() | st.integers(1, 2**53 - 1)),
        request=draw(st.none() | st.builds(Request, id=maybe, user_agent=maybe)),
        trace_id=draw(st.none() | st.just("0af7651916cd43dd8448eb211c80319c")),
        span_id=draw(st.none() | st.just("b7ad6b7169203331")),
        tenant=draw(maybe),
        metadata={"document": draw(documents)} if draw(st.booleans()) else {},
    )


def without_change_id(made: AuditRecord) -> str:
    """The body of a record as it was before bodies had a `change_id`."""
    members = json.loads(made.body())
    del members["change_id"]
    return canonical_json(members)


BODIES = pytest.mark.parametrize(
    "body_of", [AuditRecord.body, without_change_id], ids=["now", "earlier"]
)


def columns_of(body: str) -> tuple[Any, ...]:
    """Return the columns of the parsed body."""
    return derived_columns(json.loads(body))


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"change_id": None},
        {"tenant": None},
        {"trace_id": None, "span_id": None},
        {"actor": Actor.unknown()},
        {"request": None, "reason": "month end", "outcome": "failure"},
        {"target": Target(type="user", id=None)},
        {"target": Target(type="user", id="ü", version=2**53 - 1)},
        {"changes": {"body": {"new": json.loads(record().body())}}},
        {"changes": {"text": {"new": record().body()}}},
    ],
    ids=[
        "all",
        "unstaged",
        "no-tenant",
        "no-trace",
        "unknown",
        "no-request",
        "bare",
        "big",
        "json",
        "text",
    ],
)
@BODIES
def test_usual_bodies_need_no_parsing(
    given_: dict[str, Any], body_of: Callable[[AuditRecord], str]
) -> None:
    """The shapes that a service writes all day, or has written, are recognised."""
    body = body_of(record(**given_))
    assert matches_columns(body, columns_of(body))


@BODIES
@given(made=records())
def test_it_agrees_with_the_parsed_body(
    made: AuditRecord, body_of: Callable[[AuditRecord], str]
) -> None:
    """The quick check accepts only columns that the parsed body has, whatever its texts contain."""
    body = body_of(made)
    told = columns_of(body)
    plain = all(json.dumps(one, ensure_ascii=False) in {f'"{one}"', "null"} for one in told)
    is_usual = made.target is not None and not made.metadata and made.on_behalf_of is None
    assert (plain and is_usual) == matches_columns(body, told)


@given(records(), st.sampled_from(range(len(COLUMNS))), values)
@example(record(tenant=None), COLUMNS.index("tenant"), "None")
@example(record(actor=Actor.user("None")), COLUMNS.index("actor_id"), None)
@example(record(tx_id="None"), COLUMNS.index("tx_id"), None)
@example(record(target=Target(type="None", id="1")), COLUMNS.index("target_type"), None)
@example(record(), COLUMNS.index("actor_id"), '7","label":"kim')
def test_changed_column_never_matches(made: AuditRecord, at: int, value: object) -> None:
    """With another value in any column the answer is no."""
    body = made.body()
    told = columns_of(body)
    changed = (*told[:at], value, *told[at + 1 :])
    assume(told != changed)
    assert not matches_columns(body, changed)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("place", ["changes", "metadata", "text"])
def test_another_body_inside_of_the_body_is_not_it(name: str, place: str) -> None:
    """A body stored as a document cannot pass off its columns as those of the row."""
    other = record(
        event_id=EVENT_ID.replace("1", "2"),
        occurred_at=MOMENT.replace(year=2027),
        action="user.delete",
        actor=Actor.service("eve"),
        outcome="failure",
        tx_id="other",
        target=Target(type="invoice", id="43", version=3),
        trace_id=None,
        span_id=None,
        tenant=None,
    )
    inner = json.loads(other.body())
    outer = {
        "changes": {"changes": {"a": {"new": inner}}},
        "metadata": {"metadata": inner},
        "text": {"reason": other.body()},
    }[place]
    body = record(**outer).body()
    at = COLUMNS.index(name)
    told, theirs = columns_of(body), columns_of(other.body())
    assert told[at] != theirs[at]
    assert not matches_columns(body, (*told[:at], theirs[at], *told[at + 1 :]))
    assert not matches_columns(body, theirs)


@pytest.mark.parametrize("value", [b"acme", b"", 7, 0, 1.5])
def test_non_text_columns_never_match(value: object) -> None:
    """SQLite keeps whatever it is given."""
    body = record(tenant=str(value)).body()
    assert matches_columns(body, columns_of(body))
    changed: Any = (*columns_of(body)[:-1], value)
    assert not matches_columns(body, changed)
