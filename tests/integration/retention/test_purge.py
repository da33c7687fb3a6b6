"""Purges: what goes, what stays, and what every check says afterwards."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from auditspan import RetentionError
from integration.retention.shop import Shop


def filled(shop: Shop) -> int:
    """Items of every fate: kept, changed later, deleted later; return the rows so far."""
    shop.add(1, 2, 3, 4)
    with shop.writing() as session:
        session.get_one(shop.Item, 1).tags = [shop.Tag(id=1), shop.Tag(id=2)]
        session.get_one(shop.Item, 2).tags = [session.get_one(shop.Tag, 1)]
    shop.price(2, 20)
    shop.settle()
    return shop.count()


def test_old_rows_go_and_everything_still_holds(shop: Shop) -> None:
    """The leaves stay, and verify, state, reconcile and the witness are clean."""
    old = filled(shop)
    cut = shop.now()
    shop.price(3, 30)
    shop.remove(4)
    shop.settle()
    report = shop.purge(cut)
    assert old == report.removed
    assert shop.leaves() == shop.count() + old
    shop.require_clean()
    assert old == shop.verify().purged
    assert old == shop.reconcile().purged
    shop.price(1, 11)
    shop.remove(2)
    shop.settle()
    shop.require_clean()


def test_a_second_purge_covers_the_first(shop: Shop) -> None:
    """Also the event of the first purge goes, and nothing is missing."""
    filled(shop)
    shop.purge()
    shop.price(1, 12)
    shop.settle()
    first = shop.verify().purged
    assert shop.purge().removed > 0
    shop.require_clean()
    assert shop.verify().purged > first
    with shop.engine.connect() as connection:
        assert 2 > len(shop.trail.retention.purges(connection))


def test_a_row_that_was_removed_by_hand_is_found(shop: Shop) -> None:
    """One row behind the purge, and one leaf inside of it."""
    old = filled(shop)
    cut = shop.now()
    shop.price(3, 30)
    shop.settle()
    shop.purge(cut)
    with shop.engine.begin() as connection:
        disabled(connection)
        connection.execute(
            text(
                "DELETE FROM audit_event WHERE id = "
                "(SELECT row_id FROM audit_leaf WHERE seq = :seq)"
            ),
            {"seq": old},
        )
    assert [("missing-row", old)] == [(one.kind, one.seq) for one in shop.verify().findings]


def disabled(connection) -> None:
    """Take the guards away, as somebody with every right could."""
    from support.attacker import take_guards_away

    take_guards_away(connection)


@pytest.mark.parametrize("step", ["not authorised", "not delivered"])
def test_rows_cannot_be_deleted_before_the_event_is_confirmed(shop: Shop, step: str) -> None:
    """The database refuses it for everyone."""
    filled(shop)
    if step == "not delivered":
        from auditspan import audit_context
        from integration.retention.shop import LEE

        with audit_context(actor=LEE), shop.sessions() as session:
            shop.trail.retention.authorise(session, before=shop.now(), reason="r")
        with pytest.raises(RetentionError, match="not confirmed|nothing"):
            shop.seal()
            shop.trail.retention.purge()
    with pytest.raises(IntegrityError, match="append-only"):
        shop.run("DELETE FROM audit_event WHERE id = (SELECT min(id) FROM audit_event)")
