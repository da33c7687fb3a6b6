"""Purges: what goes, what stays, and what every check says afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from auditspan import MissingActorError, PurgedError, RetentionError, audit_context
from auditspan.delivery import FileSink
from auditspan.delivery.worker import Worker
from auditspan.format import Json, timestamp
from auditspan.reading import (
    EventProof,
    check_export,
    check_proof,
    export_csv,
    export_ndjson,
    prove_event,
)
from auditspan.seal.guards import restore_guards
from auditspan.storage import EventFilter, latest_checkpoint, purge_of, snapshot
from integration.retention.shop import KEY, LEE, Shop
from support.attacker import take_guards_away


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
    """The leaves stay, and verify, state, reconcile and the witness are clean, also later."""
    old = filled(shop)
    cut = shop.now()
    shop.price(3, 30)
    shop.remove(4)
    shop.settle()
    assert old == shop.purge(cut).removed
    assert shop.leaves() == shop.count() + old
    shop.require_clean()
    assert (old, old) == (shop.verify().purged, shop.reconcile().purged)
    shop.price(1, 11)
    shop.remove(2)
    shop.settle()
    shop.require_clean()


def test_rows_after_a_purge_are_not_caught_up(shop: Shop) -> None:
    """A worker that waits for delivery counts no purged row as a delivered one."""
    filled(shop)
    shop.purge()
    worker = Worker(shop.engine, shop.tables, FileSink(shop.files))
    assert worker.is_caught_up()
    shop.price(1, 11)
    assert not worker.is_caught_up()
    shop.seal()
    assert not worker.is_caught_up()
    shop.deliver()
    assert worker.is_caught_up()
    worker.stop()


def test_second_purge_covers_the_first(shop: Shop) -> None:
    """Also the event of the first purge goes, and no row is missed."""
    filled(shop)
    shop.purge()
    first = shop.verify().purged
    shop.price(1, 12)
    shop.settle()
    assert shop.purge().removed > 0
    shop.require_clean()
    assert shop.verify().purged > first
    with shop.engine.connect() as connection:
        (only,) = shop.trail.retention.purges(connection)
    assert ("8", "policy 4.2") == (only.actor, only.reason)


def test_nothing_to_remove_records_nothing(shop: Shop) -> None:
    """Neither where nothing is old enough, nor where a purge is authorised already."""
    cut = shop.now()
    old = filled(shop)
    assert (0, old) == (shop.authorise(cut).rows, shop.count())
    assert shop.trail.retention.purge().event_id is None
    assert shop.authorise(shop.now()).rows == old
    authorised = shop.count()
    assert shop.authorise(cut).rows == 0
    assert authorised == shop.count()


@pytest.mark.parametrize("days", [-1, 1])
def test_cut_off_must_be_a_time_in_the_past(shop: Shop, days: int) -> None:
    """A naive time, or one to come."""
    cut = shop.now()
    wrong = cut.replace(tzinfo=None) if days < 0 else cut + timedelta(days=days)
    with pytest.raises(RetentionError, match="cut-off"):
        shop.trail.retention.plan(wrong)


def test_actor_is_required(shop: Shop) -> None:
    """A purge without somebody who authorises it is refused."""
    filled(shop)
    with shop.sessions() as session, pytest.raises(MissingActorError):
        shop.trail.retention.authorise(session, before=shop.now(), reason="r")


def test_row_that_was_removed_by_hand_is_found(shop: Shop) -> None:
    """The first row behind the purge."""
    old = filled(shop)
    cut = shop.now()
    shop.price(3, 30)
    shop.settle()
    shop.purge(cut)
    row_id = "(SELECT row_id FROM audit_leaf WHERE seq = :seq)"
    attack(shop, f"DELETE FROM audit_event WHERE id = {row_id}", seq=old)  # noqa: S608
    assert [("missing-row", old)] == [(one.kind, one.seq) for one in shop.verify().findings]


def test_leaf_of_a_purged_row_cannot_be_changed_or_removed(shop: Shop) -> None:
    """The roots no longer match, though the row is gone."""
    filled(shop)
    shop.purge()
    other = "(SELECT leaf_hash FROM audit_leaf WHERE seq = 1)"
    with shop.engine.connect() as connection:
        for statement in (
            f"UPDATE audit_leaf SET leaf_hash = {other} WHERE seq = 0",  # noqa: S608
            "DELETE FROM audit_leaf WHERE seq = 0",
        ):
            take_guards_away(connection)
            connection.execute(text(statement))
            assert {"root", "gap"} & {one.kind for one in shop.verify_on(connection).findings}
            connection.rollback()


@pytest.mark.parametrize("step", ["not authorised", "not sealed", "not delivered"])
def test_database_refuses_rows_before_the_event_is_confirmed(shop: Shop, step: str) -> None:
    """Whoever asks; and `purge` says what is missing."""
    filled(shop)
    if step != "not authorised":
        with audit_context(actor=LEE), shop.sessions() as session:
            shop.trail.retention.authorise(session, before=shop.now(), reason="r")
    if step == "not delivered":
        shop.seal()
        with pytest.raises(RetentionError, match="not confirmed yet by file"):
            shop.trail.retention.purge()
    else:
        assert shop.trail.retention.purge().event_id is None
    with pytest.raises(IntegrityError, match="append-only"):
        shop.run("DELETE FROM audit_event WHERE id = (SELECT min(id) FROM audit_event)")


def test_stray_delete_is_refused_after_a_purge(shop: Shop) -> None:
    """It removes nothing, not even the rows that are authorised."""
    filled(shop)
    cut = shop.now()
    shop.price(3, 30)
    shop.settle()
    shop.authorise(cut)
    before = shop.count()
    with pytest.raises(IntegrityError, match="append-only"):
        shop.run("DELETE FROM audit_event")
    assert before == shop.count()


def test_unconfirmed_rows_stay(shop: Shop) -> None:
    """One sink of two is behind, or has never received anything."""
    filled(shop)
    shop.run(
        "INSERT INTO audit_delivery (sink, sent_seq, safe_seq, updated_at) "
        "VALUES ('archive', 1, 1, '2026-01-01 00:00:00.000000')"
    )
    plan = shop.trail.retention.plan(shop.now())
    assert (0, True) == (plan.rows, "the sink archive" in plan.kept[0].reason)
    shop.run("DELETE FROM audit_delivery WHERE sink = 'archive'")
    assert shop.trail.retention.plan(shop.now()).rows > 0
    assert 0 == shop.trail.retention.plan(shop.now(), sinks=["archive"]).rows


def test_refused_row_stays(shop: Shop) -> None:
    """A row in quarantine is nowhere but in the table."""
    filled(shop)
    with shop.engine.begin() as connection:
        event_id = connection.scalar(text("SELECT event_id FROM audit_leaf WHERE seq = 0"))
        connection.execute(
            shop.tables.quarantine.insert().values(
                sink="file", seq=0, event_id=str(event_id), reason="poison"
            )
        )
    assert 0 == shop.trail.retention.plan(shop.now()).rows


def test_tampered_rows_are_evidence(shop: Shop) -> None:
    """A trail that fails verification is not purged, nor are rows that were changed since."""
    filled(shop)
    cut = shop.now()
    change = "UPDATE audit_event SET tenant = 'x' WHERE id = (SELECT min(id) FROM audit_event)"
    attack(shop, change)
    with pytest.raises(RetentionError, match="fails verification"):
        shop.authorise(cut)
    attack(shop, change.replace("'x'", "NULL"))
    shop.authorise(cut)
    attack(shop, change.replace("tenant = 'x'", "mac = 'x'"))
    with pytest.raises(RetentionError, match="differ from what was sealed"):
        shop.trail.retention.purge()


def test_live_table_that_was_changed_unseen_is_not_taken_as_a_baseline(shop: Shop) -> None:
    """It would replace the true history."""
    filled(shop)
    with shop.trail.unaudited(reason="a test"), shop.writing() as session:
        session.execute(text("UPDATE item SET price = 99 WHERE id = 3"))
    shop.settle()
    with pytest.raises(RetentionError, match="do not match the trail"):
        shop.authorise(shop.now())


def test_forged_authorisations_excuse_nothing(shop: Shop) -> None:
    """Without the proof of the key, with another root, or with a cut-off that is too early."""
    filled(shop)
    with shop.engine.connect() as connection:
        newest = latest_checkpoint(connection, shop.tables)
    assert newest is not None
    good: dict[str, Json] = {
        "size": newest.size,
        "root": newest.root.hex(),
        "before": timestamp(shop.now()),
    }
    late, early = "2999-01-01T00:00:00.000000Z", "2020-01-01T00:00:00.000000Z"
    changes: list[dict[str, Json]] = [{}, {"root": "0" * 64}, {"before": early}, {"before": late}]
    for wrong in changes:
        with shop.writing() as session:
            shop.trail.record(
                session,
                "trail.purge",
                target=shop.trail_target(),
                metadata={"retention": {**good, **wrong}},
            )
    shop.settle()
    assert shop.trail.retention.purge().event_id is None
    with shop.engine.connect() as connection:
        take_guards_away(connection)
        connection.execute(text("DELETE FROM audit_event WHERE id <= 3"))
        found = shop.verify_on(connection).findings
        connection.rollback()
    assert [("missing-row", seq) for seq in range(3)] == [(one.kind, one.seq) for one in found]


def test_old_proofs_and_exports_hold(shop: Shop) -> None:
    """Of events that are gone; new proofs of them hold for whoever has the body."""
    filled(shop)
    (event_id,) = shop.ids()[:1]
    before = proof(shop, event_id)
    exported = export(shop)
    shop.price(3, 30)
    shop.settle()
    shop.purge(shop.now())
    shop.price(3, 31)
    shop.settle()
    keys = [KEY.public]
    assert check_proof(before.resource(), keys) is None
    assert check_export(exported, keys) is None
    after = proof(shop, event_id, from_size=before.checkpoint.size).resource()
    assert (None, before.leaf.leaf_hash.hex()) == (after["body"], after["leaf_hash"])
    assert check_proof(after, keys, from_root=before.checkpoint.root) is None
    whole = {name: before.resource()[name] for name in ("body", "mac", "recorded_at")}
    assert check_proof({**after, **whole}, keys) is None
    assert check_proof({**after, **whole, "body": "{}"}, keys) is not None


def test_export_of_the_rest_leads_to_the_signed_root(shop: Shop) -> None:
    """The manifest replaces the purged rows by the roots of their subtrees."""
    filled(shop)
    for price in range(5):
        shop.price(3, 100 + price)
        shop.seal()
    shop.purge(shop.now())
    for price in range(5):
        shop.price(3, 200 + price)
        shop.seal()
    lines = export(shop)
    assert check_export(lines, [KEY.public]) is None
    frontier = lines[-1].partition('"frontier":["')[2][:64]
    forged = [*lines[:-1], lines[-1].replace(frontier, "0" * 64)]
    assert check_export(forged, [KEY.public]) == (
        "the lines are not those that follow the purged ones in the checkpoint"
    )
    assert len(list(export_csv(shop.read, shop.tables, EventFilter()))) == len(lines)


def test_states_before_the_purge_are_unknown(shop: Shop) -> None:
    """`as_of` says so, and never that there was no object."""
    early = shop.now()
    filled(shop)
    middle = shop.now()
    shop.price(1, 5)
    shop.settle()
    report = shop.purge(shop.now())
    shop.settle()
    with shop.sessions() as session:
        for when in (early, middle):
            with pytest.raises(PurgedError, match=str(report.event_id)):
                shop.trail.as_of(session, shop.Item, 1, when)
        now = shop.trail.as_of(session, shop.Item, 1, shop.now())
        assert now is not None
        assert (5, True) == (now["price"], now.is_complete)
        first = shop.trail.history(session, shop.Item, 1)[0]
        assert "item.baseline" == first.action


def test_event_that_was_purged_is_named(shop: Shop) -> None:
    """With the event that authorised it; any other unknown event is not."""
    filled(shop)
    event_id, *_ = shop.ids()
    report = shop.purge()
    kept = shop.ids()[-1]
    with shop.engine.connect() as connection:
        purge = purge_of(connection, shop.tables, event_id)
        assert purge is not None
        assert report.event_id == purge.event_id
        assert purge_of(connection, shop.tables, kept) is None
        assert purge_of(connection, shop.tables, "0" * 8 + event_id[8:]) is None


def attack(shop: Shop, statement: str, **values: object) -> None:
    """Change the tables as somebody with every right could, and put the guards back."""
    with shop.engine.begin() as connection:
        take_guards_away(connection)
        connection.execute(text(statement), values)
        restore_guards(connection, shop.tables)
        if connection.dialect.name == "postgresql":
            for table in ("leaf", "checkpoint", "delivery", "quarantine", "event"):
                connection.execute(text(f"ALTER TABLE audit_{table} ENABLE TRIGGER USER"))
            restore_guards(connection, shop.tables)


def proof(shop: Shop, event_id: str, *, from_size: int | None = None) -> EventProof:
    """The proof of an event now."""
    with snapshot(shop.engine) as connection:
        found = prove_event(connection, shop.tables, event_id, from_size=from_size)
    assert found is not None
    return found


def export(shop: Shop) -> list[str]:
    """The verifiable export of everything."""
    return list(export_ndjson(shop.read, shop.tables, EventFilter()))
