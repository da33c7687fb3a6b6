"""Legal holds: what they keep, for how long, and who can end them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from auditspan import RetentionError, Target, audit_context
from auditspan.format import Json
from integration.retention.shop import KIM, LEE, Shop


def sealed_one_by_one(shop: Shop) -> None:
    """Items 1 to 4, each under a checkpoint of its own; kim makes three, lee the last."""
    for number in (1, 2, 3):
        shop.add(number)
        shop.seal()
    shop.add(4, actor=LEE)
    shop.settle()


def hold(shop: Shop, **criteria: Any) -> str:
    """Place a hold."""
    with audit_context(actor=KIM), shop.sessions.begin() as session:
        id_ = shop.trail.retention.hold(session, reason="case 12", **criteria)
    shop.settle()
    return id_


def release(shop: Shop, id_: str) -> None:
    """Release a hold."""
    with audit_context(actor=LEE), shop.sessions.begin() as session:
        shop.trail.retention.release(session, id_, reason="settled")
    shop.settle()


@pytest.mark.parametrize(
    ("criteria", "size"),
    [
        ({"target": Target(type="item", id="3")}, 2),
        pytest.param({"target": Target(type="item", id=None)}, 0, marks=pytest.mark.slow),
        pytest.param({"target": Target(type="other", id=None)}, 4, marks=pytest.mark.slow),
        ({"actor": "8"}, 3),
        pytest.param({"actor": "lee"}, 3, marks=pytest.mark.slow),
        ({"actor": "8", "target": Target(type="item", id="1")}, 4),
        ({}, 0),
    ],
    ids=str,
)
def test_purge_ends_before_the_first_held_event(
    shop: Shop, criteria: dict[str, Any], size: int
) -> None:
    """Of the criteria together; the event of the hold itself is held in any case."""
    sealed_one_by_one(shop)
    id_ = hold(shop, **criteria)
    plan = shop.trail.retention.plan(shop.now())
    assert (size, id_ in plan.kept[0].reason) == (plan.size, True)
    assert size == shop.purge().removed
    shop.require_clean()
    release(shop, id_)
    assert shop.trail.retention.plan(shop.now()).size > 4
    assert shop.purge().removed > 4 - size
    shop.require_clean()


def test_hold_until_a_time_keeps_what_is_older(shop: Shop) -> None:
    """Later events of the target are not held by it, but they are behind the first."""
    sealed_one_by_one(shop)
    hold(shop, until=shop.now(), actor="8")
    assert 3 == shop.trail.retention.plan(shop.now()).size


def test_hold_after_the_authorisation_stops_the_purge(shop: Shop) -> None:
    """In the library and in the database; another authorisation respects it."""
    sealed_one_by_one(shop)
    shop.authorise(shop.now())
    hold(shop, target=Target(type="item", id="3"))
    with pytest.raises(RetentionError, match="a legal hold was placed after"):
        shop.trail.retention.purge()
    with pytest.raises(IntegrityError, match="append-only"):
        shop.run("DELETE FROM audit_event WHERE id = (SELECT min(id) FROM audit_event)")
    shop.require_clean()
    assert 2 == shop.purge().removed
    shop.require_clean()


def test_holds_are_listed_until_they_are_released(shop: Shop) -> None:
    """With their criteria and reason; only an active hold can be released."""
    sealed_one_by_one(shop)
    first, second = hold(shop, actor="8"), hold(shop)
    with shop.sessions() as session:
        found = shop.trail.retention.holds(session)
    assert [(first, "8", "case 12"), (second, None, "case 12")] == [
        (one.id, one.criteria.actor, one.reason) for one in found
    ]
    release(shop, first)
    with pytest.raises(RetentionError, match="no active hold"):
        release(shop, first)
    with shop.sessions() as session:
        assert [second] == [one.id for one in shop.trail.retention.holds(session)]


def test_forged_release_ends_no_hold(shop: Shop) -> None:
    """An event of the application with the same action has no proof of the key."""
    sealed_one_by_one(shop)
    id_ = hold(shop)
    with shop.writing() as session:
        forged: dict[str, Json] = {"retention": {"hold": id_}}
        shop.trail.record(session, "trail.release", target=shop.trail_target(), metadata=forged)
    shop.settle()
    assert 0 == shop.trail.retention.plan(shop.now()).size
