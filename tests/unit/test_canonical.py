"""Canonical JSON: one text for every value of the profile, and no value lost on its way into it."""

from __future__ import annotations

import base64
import decimal
import enum
import ipaddress
import json
import math
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from auditspan.errors import AuditBodyError
from auditspan.format.canonical import MAX_INTEGER, canonical_json, parse_canonical
from auditspan.format.values import represent, timestamp
from support.decode import decode, parse_duration

SAFE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ANY_TEXT = st.text(st.characters())
SAFE_KEY = st.text(st.characters(min_codepoint=1, max_codepoint=127)).filter(
    lambda key: not key.startswith("$")
)
SAFE_INTEGER = st.integers(-MAX_INTEGER, MAX_INTEGER)


def nested(scalars: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> Any:
    """Arrays and objects over these scalars and keys."""
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


IN_PROFILE = nested(st.none() | st.booleans() | SAFE_INTEGER | SAFE_TEXT, SAFE_KEY)
ANY_JSON = nested(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    ANY_TEXT | st.sampled_from(["$json", "$len", "$redacted", "é"]),
)

TWO_FORMS: list[tuple[Any, Any]] = [
    (True, 1),
    (False, 0),
    ({"n": 1.5}, {"n": "1.5"}),
    ({"n": 2**60}, {"n": str(2**60)}),
    ({"n": True}, {"n": 1}),
    ({"$json": "1"}, 1),
    ({"$json": "1"}, {"$json": '{"$json":"1"}'}),
    ("\0", "\\u0000"),
    ("\ud800", "\\ud800"),
    (None, "null"),
]


def refused_or(value: Any) -> Any:
    """Return the text of `represent`, or the class of its refusal; other errors fail the test."""
    try:
        return represent(value)
    except AuditBodyError:
        return AuditBodyError


class Perm(enum.Flag):
    """Flags, whose empty combination has no name."""

    READ = 1
    WRITE = 2


class Aliased(enum.Enum):
    """Members whose values are alike as text."""

    ONE = 1
    TEXT_ONE = "1"


@given(IN_PROFILE)
def test_equals_an_independent_implementation(value: Any) -> None:
    """Every value of the profile has the text that the rfc8785 package gives it."""
    assert rfc8785.dumps(value).decode() == canonical_json(value)


@given(IN_PROFILE)
def test_a_canonical_text_is_read_back(value: Any) -> None:
    """Any other text of the same value is refused."""
    text = canonical_json(value)
    assert value == parse_canonical(text)
    for other in (text + " ", json.dumps(value, indent=1) + "\n", text.replace(":", ": ", 1) + " "):
        with pytest.raises(AuditBodyError):
            parse_canonical(other)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "nul", "[1,]", "{}{}", "NaN", "[Infinity]", "1.0", "1e3", "-0", "01", "+1"),
        *('{"b":1,"a":2}', '{"a":1,"a":1}', '"\\u0041"', '"\\/"', '"\\u001F"', '"\\u0000"'),
        *(str(2**53), '{"\ufffd":1,"😀":2}', '"\\ud800"', "[" * 100_000, "[1, 2]", '"\t"'),
    ],
)
def test_a_text_that_is_not_canonical_is_refused(text: str) -> None:
    """Spaces, another order, a member twice, an escape too many, what is outside the profile."""
    with pytest.raises(AuditBodyError):
        parse_canonical(text)


def test_a_circle_is_refused() -> None:
    """And ends."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises((AuditBodyError, RecursionError)):
        canonical_json(circle)


@given(IN_PROFILE)
def test_value_within_the_profile_is_unchanged(value: Any) -> None:
    """Representing a value within the profile does not change it."""
    assert rfc8785.dumps(value).decode() == canonical_json(represent(value))


@given(nested(SAFE_INTEGER | SAFE_TEXT, SAFE_TEXT))
@example({"\ufffd": 1, "😀": 2, "é": 3})
def test_keys_are_any_text_in_the_order_of_the_rfc(value: Any) -> None:
    """They are sorted by UTF-16 code units, in which an emoji precedes U+FFFD."""
    text = canonical_json(value)
    assert rfc8785.dumps(value).decode() == text
    assert value == parse_canonical(text)


def test_the_keys_are_sorted_and_the_escapes_are_those_of_the_rfc() -> None:
    """Keys are sorted; only quotes, backslashes and control characters are escaped."""
    assert r'{"":0,"A":"é\"\\\b\t\n\f\r\u001f/€😀","a":[]}' == canonical_json(
        {"a": [], "A": 'é"\\\b\t\n\f\r\x1f/€😀', "": 0}
    )


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        math.nan,
        math.inf,
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        "a\0",
        "\ud800",
        {"\ud800": 1},
        {"a\0": 1},
        {1: 1},
        {None: 1},
        Decimal(1),
        b"a",
        {1, 2},
        datetime.now(UTC),
        object(),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_value_outside_the_profile_is_refused(value: Any, depth: int) -> None:
    """The canonical text of a value outside the profile does not exist, at any depth."""
    for _ in range(depth):
        value = [{"a": value}]
    with pytest.raises(AuditBodyError):
        canonical_json(value)


@given(ANY_JSON)
@example({"$json": "1"})
@example({"a": {"$json": "1"}})
@example("\ud83d\ude00")
def test_a_json_value_can_be_read_back(value: Any) -> None:
    """A JSON value comes back with its types: odd keys, big numbers, NUL and surrogates too.

    A float or big integer that stands alone is read back by its type, as from its column.
    """
    stands = represent(value)
    if isinstance(value, int | float) and isinstance(stands, str):
        assert value == type(value)(stands)
    else:
        assert json.dumps(value, sort_keys=True) == json.dumps(decode(stands), sort_keys=True)
    canonical_json(stands)


@given(st.decimals(allow_nan=False))
@example(Decimal("1234567890123456789012345678901234567890.10"))
@example(Decimal("1E+30"))
@example(Decimal("-0.00"))
def test_a_decimal_can_be_read_back(value: Decimal) -> None:
    """Every digit of a decimal is kept, whatever the precision of the context."""
    with decimal.localcontext(prec=3):
        text = represent(value)
    assert isinstance(text, str)
    assert value == Decimal(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_equal_decimals_have_one_form(value: Decimal) -> None:
    """1.50 and 1.5 are the same value and the same text, and so are zero and minus zero."""
    sign, digits, exponent = value.as_tuple()
    longer = Decimal((sign, (*digits, 0, 0), int(exponent) - 2))
    assert value == longer
    assert represent(value) == represent(longer)
    assert represent(Decimal("-0.0")) == represent(Decimal(0))


@given(st.floats())
def test_a_float_can_be_read_back(value: float) -> None:
    """A float becomes text that is exactly it, infinities and NaN included."""
    text = represent(value)
    assert isinstance(text, str)
    assert (value == float(text)) or (math.isnan(value) and math.isnan(float(text)))


@given(st.integers())
@example(2**53)
@example(-(2**53))
@example(2**200)
def test_an_integer_can_be_read_back(value: int) -> None:
    """An integer stands as itself within the profile, and as decimal text beyond it."""
    expected: Any = value if abs(value) <= MAX_INTEGER else str(value)
    assert expected == represent(value)


@given(st.datetimes(timezones=st.timezones()))
@example(datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))
@example(datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))))
def test_an_aware_timestamp_can_be_read_back(value: datetime) -> None:
    """An aware timestamp is its instant in UTC with microseconds and Z, or refused."""
    text = refused_or(value)
    if text is AuditBodyError:
        assert value.year in {1, 9999}
    else:
        assert text[-8] + text[-1] == ".Z"
        assert value.astimezone(UTC) == datetime.fromisoformat(text)


@given(st.datetimes(), st.timezones())
def test_one_instant_has_one_form(value: datetime, zone: Any) -> None:
    """The same instant in two zones is the same text, and a naive time is never an aware one."""
    if 1 < value.year < 9999:
        aware = value.replace(tzinfo=UTC)
        assert represent(aware) == represent(aware.astimezone(zone)) == timestamp(aware)
    assert value == datetime.fromisoformat(str(represent(value)))
    assert not str(represent(value)).endswith("Z")


@given(st.timedeltas())
@example(timedelta.min)
@example(timedelta.max)
@example(timedelta(microseconds=-1))
def test_an_interval_can_be_read_back(value: timedelta) -> None:
    """An interval becomes an ISO 8601 duration, exact to the microsecond, negative ones too."""
    assert value == parse_duration(str(represent(value)))


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        (st.uuids(), uuid.UUID),
        (st.dates(), date.fromisoformat),
        (st.times(), time.fromisoformat),
        (st.times(timezones=st.just(timezone(timedelta(hours=2)))), time.fromisoformat),
        (st.binary(), base64.b64decode),
        (st.ip_addresses(), ipaddress.ip_address),
    ],
    ids=["uuid", "date", "time", "time with zone", "bytes", "address"],
)
def test_text_form_is_lossless(kind: st.SearchStrategy[Any], read: Callable[[str], Any]) -> None:
    """UUIDs, dates, times, bytes and addresses are read back from their text."""

    @given(kind)
    def check(value: Any) -> None:
        text = represent(value)
        assert isinstance(text, str)
        assert value == read(text)

    check()


@pytest.mark.parametrize(("one", "other"), TWO_FORMS, ids=repr)
def test_two_json_values_stand_in_two_ways(one: Any, other: Any) -> None:
    """Two different JSON values of a column are different in a body.

    Otherwise a change from one to the other would leave no row.
    """
    assert canonical_json(represent(one)) != canonical_json(represent(other))


def test_every_member_of_an_enumeration_has_a_form_of_its_own() -> None:
    """Members are told apart, also the combination of flags that has no name."""
    members = [*Aliased, Perm(0), Perm.READ, Perm.WRITE, Perm.READ | Perm.WRITE]
    forms = [refused_or(member) for member in members]
    shown = [form for form in forms if form is not AuditBodyError]
    assert None not in shown
    assert len(shown) == len(set(shown))


@given(st.sets(st.integers() | SAFE_TEXT, max_size=6))
@example({0, 8})
def test_a_set_has_one_form_whatever_its_order(values: set[Any]) -> None:
    """A set is the same text however it came to be."""
    forwards, backwards = sorted(values, key=str), sorted(values, key=str, reverse=True)
    assert represent(set(forwards)) == represent(set(backwards))


def test_keys_that_would_become_one_are_not_merged() -> None:
    """An object with the keys 1 and "1" keeps both or is refused."""
    form = refused_or({1: "a", "1": "b"})
    assert form is AuditBodyError or ("a" in canonical_json(form) and "b" in canonical_json(form))


@pytest.mark.parametrize(
    "value", [object(), 1j, (n for n in "ab"), lambda: 1, int, {"a": object()}]
)
def test_value_without_a_lossless_form_is_refused(value: Any) -> None:
    """A value that can only be described, not kept, is refused with what to do about it."""
    with pytest.raises(AuditBodyError):
        represent(value)


@pytest.mark.parametrize("shape", ["deep", "cyclic", "huge"])
def test_endless_values_are_refused_clearly(shape: str) -> None:
    """Endless nesting and endless numbers are refused, not a RecursionError or ValueError."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    value = {"deep": deep, "cyclic": cyclic, "huge": 10**5000}[shape]
    form = refused_or(value)
    assert form is AuditBodyError or (shape == "huge" and len(str(form)) == 5001)
