"""Proofs, checkpoints and histories over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select, text

from auditspan.reading import check_proof
from auditspan.seal import Sealer
from auditspan.storage.keys import load_or_create_signing_keys
from auditspan.tlog import Checkpoint, SigningKey, Tree, open_note
from auditspan_service.cli import main
from auditspan_service.config import Settings
from support.attacker import take_guards_away
from support.migrated import migrated_sqlite
from support.service import Caller, RunningService, problem, running_service, settings_at

EVENTS = "/v1/audit-events"
LATEST = "/v1/checkpoints/latest"
#: Sizes around those from which a subtree is taken from a checkpoint, and not from its leaves.
ROUNDS = (1, 2, 510, 600, 411, 523, 1)


class Trail:
    """A service with its sealer."""

    def __init__(self, service: RunningService, settings: Settings) -> None:
        self.service = service
        self.caller: Caller = service.caller()
        (self.key,) = load_or_create_signing_keys(settings.signing_key_file, create=True)
        self._sealer = Sealer(
            service.services.database.engine, service.services.trail.tables, signing_key=self.key
        )

    def seal(self) -> None:
        """Seal everything."""
        while self._sealer.seal():
            pass

    def record(self, count: int) -> list[str]:
        """Record events and seal them; their ids."""
        batch = [{"action": "batch.item"}] * count
        items = [
            item
            for start in range(0, count, 500)
            for item in self.caller("POST", EVENTS, json=batch[start : start + 500]).get_json()[
                "items"
            ]
        ]
        self.seal()
        return [item["event_id"] for item in items]

    def proof(self, event_id: str, **query: int) -> dict[str, Any]:
        """The proof of an event."""
        response = self.caller("GET", f"{EVENTS}/{event_id}/proof", query_string=query)
        assert 200 == response.status_code, response.text
        found: dict[str, Any] = response.get_json()
        return found


@pytest.fixture
def trail(service: RunningService, settings: Settings) -> Trail:
    """A service with its sealer, on both databases."""
    return Trail(service, settings)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trail]:
    """A trail of some 2,000 events with several checkpoints."""
    folder = tmp_path_factory.mktemp("long")
    url = migrated_sqlite(folder / "auditspan.db")
    settings = settings_at(folder / "data", url)
    with running_service(settings) as service:
        made = Trail(service, settings)
        for count in ROUNDS:
            made.record(count)
        yield made


def other_key(key: SigningKey) -> SigningKey:
    """Another key with the same name."""
    return SigningKey(name=key.name, seed=bytes(32))


def test_every_event_is_proven_against_the_newest_checkpoint(long: Trail) -> None:
    """By anyone with the public key; and the proofs of consistency hold from each size on."""
    with long.service.services.database.reading() as session:
        leaf = long.service.services.trail.tables.leaf.c
        leaves = [tuple(row) for row in session.execute(leaf.seq.table.select().order_by(leaf.seq))]
    ids, hashes = [row[2] for row in leaves], [row[3] for row in leaves]
    size = len(leaves)
    step = 97
    found = {}
    for seq in [*range(0, size, step), 511, 512, 1023, 1024, size - 1]:
        earlier = min(seq + 1, size)
        proof = long.proof(ids[seq], from_size=earlier)
        root = Tree().append(hashes[:earlier]).root
        found[seq] = (
            proof["seq"],
            proof["checkpoint"]["tree_size"],
            check_proof(proof, [long.key.public], from_root=root),
        )
    assert {seq: (seq, size, None) for seq in found} == found


def test_proof_of_anything_else_does_not_hold(long: Trail) -> None:
    """Another body, place, path, checkpoint, earlier tree or key is noticed."""
    event_id = long.record(3)[1]
    size = long.caller("GET", LATEST).get_json()["tree_size"]
    proof = long.proof(event_id, from_size=size - 1)
    checkpoint, zero = proof["checkpoint"], "0" * 64
    forged: dict[str, dict[str, Any]] = {
        "body": {"body": proof["body"].replace("batch.item", "batch.atom")},
        "time": {"recorded_at": "2026-01-01T00:00:00.000000Z"},
        "row": {"row_id": proof["row_id"] + 1},
        "mac": {"mac": None},
        "place": {"seq": proof["seq"] - 1},
        "path": {"inclusion": [zero, *proof["inclusion"][1:]]},
        "short path": {"inclusion": proof["inclusion"][1:]},
        "root": {"checkpoint": checkpoint | {"root": zero}},
        "size": {"checkpoint": checkpoint | {"tree_size": size + 1}},
        "note": {"checkpoint": checkpoint | {"note": None}},
        "consistency": {"consistency": [zero]},
        "earlier size": {"from_size": size - 2},
        "nothing": dict.fromkeys(proof),
    }
    keys, root = [long.key.public], bytes.fromhex(checkpoint["root"])
    held = [
        name
        for name, one in forged.items()
        if check_proof(proof | one, keys, from_root=root) is None
    ]
    assert [] == held
    assert check_proof(proof, [other_key(long.key).public]) is not None
    assert None is check_proof(proof, keys)


def test_newest_checkpoint_is_signed(trail: Trail) -> None:
    """It is the note of the sealer; before there is one, the answer is 404."""
    assert 404 == problem(trail.caller("GET", LATEST))["status"]
    trail.record(2)
    newest = trail.caller("GET", LATEST).get_json()
    opened = Checkpoint.parse(open_note(newest["note"], [trail.key.public]).text)
    assert (newest["tree_size"], newest["root"]) == (opened.size, opened.root.hex())


def test_event_without_a_checkpoint_has_no_proof_yet(trail: Trail) -> None:
    """The answer is 409 with Retry-After; for an id that no event has, it is 404."""
    event_id = trail.caller("POST", EVENTS, json={"action": "a.b"}).get_json()["event_id"]
    waiting = trail.caller("GET", f"{EVENTS}/{event_id}/proof")
    document = problem(waiting)
    assert (409, "/problems/not-sealed", "1") == (
        document["status"],
        document["type"],
        waiting.headers["Retry-After"],
    )
    trail.seal()
    assert event_id == trail.proof(event_id.upper())["event_id"]
    for unknown in (event_id[:-1] + ("0" if event_id[-1] != "0" else "1"), "7"):
        assert 404 == problem(trail.caller("GET", f"{EVENTS}/{unknown}/proof"))["status"]
    for size in ("0", "-1", "x", "99999", "9" * 30):
        refused = trail.caller("GET", f"{EVENTS}/{event_id}/proof?from_size={size}")
        assert 400 == problem(refused)["status"]


@pytest.mark.parametrize("damage", ["DELETE FROM audit_leaf", "UPDATE audit_leaf SET seq = -5"])
def test_event_across_missing_leaves_is_not_proven(trail: Trail, damage: str) -> None:
    """The answer says that the trail is damaged, and what reports it."""
    first, second, third = trail.record(3)
    tables = trail.service.services.trail.tables
    with trail.service.services.database.engine.begin() as connection:
        take_guards_away(connection)
        of_second = select(tables.event.c.id).where(tables.event.c.event_id == second)
        row_id = connection.execute(of_second).scalar_one()
        connection.execute(text(f"{damage} WHERE row_id = :row_id"), {"row_id": row_id})
    for event_id in (first, second, third)[:: 2 if damage.startswith("DELETE") else 1]:
        refused = problem(trail.caller("GET", f"{EVENTS}/{event_id}/proof"))
        assert (409, "/problems/damaged-trail") == (refused["status"], refused["type"])
        assert "auditspan verify" in refused["detail"]


def test_history_of_an_object_is_in_the_order_of_its_changes(trail: Trail) -> None:
    """It has every event of the object, also those of other services, and no others."""
    user = trail.caller.create(username="lee")
    trail.caller.create(username="max")
    path = f"/v1/users/{user['id']}"
    trail.caller("PATCH", path, json={"full_name": "Lee"}, headers={"If-Match": "*"})
    trail.caller("DELETE", path, headers={"If-Match": "*"})
    target = {"type": "invoice", "id": "2026/07"}
    trail.caller("POST", EVENTS, json={"action": "invoice.sent", "target": target})
    actions = {
        name: [event["action"] for event in trail.caller("GET", name).get_json()["items"]]
        for name in (f"/v1/history/user/{user['id']}", "/v1/history/invoice/2026/07")
    }
    assert {
        f"/v1/history/user/{user['id']}": ["user.create", "user.update", "user.delete"],
        "/v1/history/invoice/2026/07": ["invoice.sent"],
    } == actions
    assert 404 == problem(trail.caller("GET", "/v1/history/user/0"))["status"]


def test_trail_with_events_of_other_services_is_verified(trail: Trail, settings: Settings) -> None:
    """The seal holds, and the replay of the service's own tables is not disturbed by them."""
    changes = {"total": {"new": "1"}}
    actions = ("invoice.create", "invoice.update", "invoice.delete", "invoice.statement")
    batch = [{"action": each, "changes": changes} for each in actions]
    assert 201 == trail.caller("POST", EVENTS, json=batch).status_code
    trail.seal()
    environ = {
        "AUDITSPAN_DATA_DIR": str(settings.data_dir),
        "AUDITSPAN_DATABASE_URL": settings.database_url,
    }
    done = CliRunner().invoke(main, ["verify", "--state", "--json"], env=environ)
    report = json.loads(done.stdout)
    assert (0, True, []) == (done.exit_code, report["ok"], report["findings"])
