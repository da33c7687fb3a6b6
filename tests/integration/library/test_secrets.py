"""Policies at work: what is redacted, excluded or ignored, and that no secret is anywhere."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from sqlalchemy import insert, text, update

from auditspan import AuditError, MacKey
from integration.library.models import Account, Chosen, Device, Profile
from integration.library.world import KEY, World, make_world

OLD, NEW = "planted-old-secret", "planted-new-secret"
SECRET = "planted"
HASH = "$2b$12$planted6uSK8kO4bhj4lCeZ7S0Z3jAcPzQ6mEaS4B1eXnFq2oPd3x9xy"
OTHER_HASH = "pbkdf2:sha256:600000$salt$planted0c5d1f"


def open_account(world: World, **values: Any) -> None:
    """An account with a secret in every column that is not shown."""
    given = {"owner": "kim", "iban": OLD, "password_hash": OLD, "notes": OLD} | values
    with world.unit_of_work() as session:
        session.add(Account(**given))


def change(world: World, **values: Any) -> None:
    """Change the account."""
    with world.unit_of_work() as session:
        account = session.get_one(Account, 1)
        for name, value in values.items():
            setattr(account, name, value)


def test_a_secret_is_in_no_row_and_on_no_span(world: World) -> None:
    """Create, update and delete of secrets leave their stand-ins, and nothing of the values."""
    open_account(world)
    change(world, password_hash=NEW, iban=NEW, notes=NEW)
    with world.unit_of_work() as session:
        session.delete(session.get_one(Account, 1))
    stored = [str(row) for row in world.rows()]
    spans = [span.to_json() for span in world.exporter.get_finished_spans()]
    assert 3 == len(stored)
    assert [] == [seen for seen in [*stored, *spans] if SECRET in seen]


def test_a_redacted_column_shows_that_it_changed_and_not_from_what_to_what(world: World) -> None:
    """Stand-ins are equal for equal values and different for different ones, across rows."""
    open_account(world)
    change(world, password_hash=NEW)
    change(world, password_hash=OLD, iban=NEW)
    created, first, second = [event["changes"] for event in world.events()]
    assert {"password_hash"} == set(first)
    assert {"$redacted", "$fingerprint"} == set(first["password_hash"]["old"])
    assert created["password_hash"]["new"] == first["password_hash"]["old"]
    assert first["password_hash"]["old"] == second["password_hash"]["new"]
    assert first["password_hash"]["old"] != first["password_hash"]["new"]
    assert created["password_hash"]["new"] != created["iban"]["new"]


@pytest.mark.parametrize("key", [None, MacKey.from_secret(b"another" + bytes(25))])
def test_without_our_key_a_fingerprint_is_another_or_none(world: World, key: Any) -> None:
    """A guess can be checked only with the key."""
    open_account(world)
    ours = world.last()["changes"]["iban"]["new"]
    other = make_world(world.engine, mac_key=key)
    open_account(other)
    theirs = other.last()["changes"]["iban"]["new"]
    assert ours != theirs
    assert ({"$redacted": True} == theirs) == (key is None)
    world.counts_span_events = False


def test_a_change_of_a_secret_leaves_a_row_even_without_a_key(world: World) -> None:
    """No key means no fingerprint, not no row: the change itself is recorded."""
    keyless = make_world(world.engine, mac_key=None)
    open_account(keyless)
    change(keyless, password_hash=NEW)
    assert ["account.create", "account.update"] == keyless.actions()
    stand_in = {"$redacted": True}
    assert {"password_hash": {"old": stand_in, "new": stand_in}} == keyless.last()["changes"]
    world.counts_span_events = False


def test_an_excluded_column_never_appears(world: World) -> None:
    """Not its name, not its value, in no kind of row."""
    open_account(world)
    change(world, notes=NEW, owner="lee")
    with world.unit_of_work() as session:
        session.delete(session.get_one(Account, 1))
    assert [] == [event for event in world.events() if "notes" in event["changes"]]


def test_an_ignored_column_alone_leaves_no_row(world: World) -> None:
    """A change of an ignored column leaves no row by itself, and hides no other change."""
    open_account(world)
    change(world, touched_at=1)
    change(world, touched_at=2, owner="lee")
    assert ["account.create", "account.update"] == world.actions()
    assert {"old": "kim", "new": "lee"} == world.last()["changes"]["owner"]


def test_only_what_is_included_is_recorded_and_in_the_clear(world: World) -> None:
    """An include list is a decision about each column, a secret-looking name too."""
    with world.unit_of_work() as session:
        session.add(Chosen(api_key="shown", rest=OLD))
    assert "pick.create" == world.last()["action"]
    assert {"id": {"new": 1}, "api_key": {"new": "shown"}} == world.last()["changes"]


def test_a_secret_is_in_no_error(world: World) -> None:
    """If the audit row cannot be written, neither our error nor its causes show a secret."""
    open_account(world)
    before = world.rows()
    world.exporter.clear()
    with world.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_event RENAME TO gone"))
    with pytest.raises(AuditError) as refusal:
        change(world, password_hash=NEW, iban=NEW)
    with world.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO audit_event"))
    shown = "".join(traceback.format_exception(refusal.value))
    assert SECRET not in shown
    assert before == world.rows()
    spans = [span.to_json() for span in world.exporter.get_finished_spans()]
    assert [] == [seen for seen in spans if SECRET in seen]
    world.counts_span_events = False


def test_each_row_names_the_key_of_its_mac(world: World) -> None:
    """The MAC of the stored body is there, under the id of our key."""
    open_account(world)
    (row,) = world.rows()
    assert (KEY.key_id, KEY.sign(row.body)) == (row.mac_key_id, row.mac)


def bank(iban: str) -> dict[str, Any]:
    """A document with three secrets and an open value."""
    return {
        "city": "x",
        "bank": {"iban": iban, "country": "de"},
        "logins": [{"password": OLD}],
        "apiKey": OLD,
    }


@pytest.mark.parametrize("by", ["object", "statement"])
def test_secret_members_of_json_are_redacted_where_they_stand(world: World, by: str) -> None:
    """By the path that the policy names, and by names that look secret, also in lists."""
    with world.unit_of_work() as session:
        session.add(Profile(data=bank(OLD)))
        session.flush()
        if by == "object":
            session.get_one(Profile, 1).data = bank(NEW)
        else:
            session.execute(update(Profile).values(data=bank(NEW)))
    assert ["profile.create", "profile.update"] == world.actions()
    data = world.last()["changes"]["data"]
    assert ("x", "de") == (data["new"]["city"], data["new"]["bank"]["country"])
    assert data["old"]["bank"]["iban"] != data["new"]["bank"]["iban"]
    assert data["old"]["logins"] == data["new"]["logins"]
    assert data["new"]["logins"][0]["password"]["$redacted"]
    assert SECRET not in "".join(world.bodies())


def test_secret_members_of_metadata_are_redacted(world: World) -> None:
    """Also what the application itself adds to an event."""
    with world.unit_of_work() as session:
        world.trail.record(session, "job.done", metadata={"token": OLD, "count": 1})
    assert {"token": {"$redacted": True}, "count": 1} == world.last()["metadata"]


def hashed(value: str) -> dict[str, Any]:
    """Values of a device with a password hash in every column and member."""
    return {
        "label": value,
        "raw": HASH.encode(),
        "data": {"digest": value, "old": ["open", value], "text": f'{{"pw": "{value}"}}'},
    }


@pytest.mark.parametrize("by", ["object", "statement"])
def test_password_hashes_are_redacted_whatever_the_name_of_their_column(
    world: World, by: str
) -> None:
    """A hash in a text, in bytes or in a JSON document leaves a stand-in for every value."""
    with world.unit_of_work() as session:
        if by == "object":
            session.add(Device(**hashed(HASH)))
            session.flush()
            session.get_one(Device, 1).data = hashed(OTHER_HASH)["data"]
            session.get_one(Device, 1).label = OTHER_HASH
        else:
            session.execute(insert(Device).values(**hashed(HASH)))
            session.execute(update(Device).values(**hashed(OTHER_HASH)))
    assert ["device.create", "device.update"] == world.actions()
    spans = [span.to_json() for span in world.exporter.get_finished_spans()]
    assert SECRET not in "".join([*world.bodies(), *spans])
    created, updated = [event["changes"] for event in world.events()]
    assert created["raw"]["new"]["$redacted"]
    assert "open" == updated["data"]["new"]["old"][0]
    assert created["label"]["new"] == updated["label"]["old"] != updated["label"]["new"]


def test_password_hashes_are_redacted_in_explicit_events(world: World) -> None:
    """Metadata keeps a stand-in, and a reason the words around the hash."""
    metadata: Any = {"note": HASH, "list": [{"value": OTHER_HASH}], "count": 1}
    with world.unit_of_work() as session:
        world.trail.record(session, "job.done", metadata=metadata, reason=f"was {HASH}, sorry")
    stand_in = {"$redacted": True}
    expected = {"note": stand_in, "list": [{"value": stand_in}], "count": 1}
    assert expected == world.last()["metadata"]
    assert "was (redacted) sorry" == world.last()["reason"]


def test_password_hash_in_an_included_column_is_redacted(world: World) -> None:
    """An include list reveals a name that looks secret, and no password hash."""
    with world.unit_of_work() as session:
        session.add(Chosen(api_key=HASH, rest="x"))
    assert world.last()["changes"]["api_key"]["new"]["$redacted"]
    world.kinds = {}


def test_revealed_columns_and_members_are_shown_as_they_are(world: World) -> None:
    """`Policy(reveal)` counts more than a secret name and more than a password hash."""
    data = {"token": {"password": HASH}, "password": OLD}
    with world.unit_of_work() as session:
        session.add(Device(token=HASH, data=data))
    changes = world.last()["changes"]
    assert HASH == changes["token"]["new"]
    assert {"password": HASH} == changes["data"]["new"]["token"]
    assert changes["data"]["new"]["password"]["$redacted"]


def test_columns_about_a_secret_are_shown(world: World) -> None:
    """The expiry of a token, and the secretary, are recorded."""
    with world.unit_of_work() as session:
        session.add(Device(token_expiration="2027-01-01", secretary_id=7))
    changes = world.last()["changes"]
    expected = [{"new": "2027-01-01"}, {"new": 7}]
    assert expected == [changes["token_expiration"], changes["secretary_id"]]
