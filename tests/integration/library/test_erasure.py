"""Remains of a person's values after their erasure: proof that something happened."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Connection,
    Engine,
    ForeignKey,
    delete,
    insert,
    inspect,
    select,
    table,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, registry, sessionmaker

from auditspan import (
    Actor,
    AuditConfigError,
    AuditTrail,
    Erased,
    ErasureKey,
    KeyFileError,
    MacKey,
    Policy,
    Privacy,
    Request,
    RevertError,
    audit_context,
)
from auditspan.format import Disclosure, Subject, SubjectCipher, disclosed_value, read_event
from auditspan.reading import check_export, export_csv, export_ndjson, prove_event
from auditspan.seal import Sealer, Undrained
from auditspan.storage import EventFilter
from auditspan.storage.keys import load_or_create_erasure_keys
from auditspan.tlog import SigningKey
from auditspan.verify import check_state, verify_trail

PAGE = Path(__file__).parents[3] / "docs/how-to/erase-a-person.md"
MAC_KEY = MacKey.from_secret(bytes(range(32)))
KEY = ErasureKey.from_secret(bytes(range(1, 33)))
SIGNING = SigningKey(name="auditspan/test", seed=bytes(range(32)))
EMAIL, NAME, STREET = "planted@example.org", "Planted Name", "Planted Street 1"
LABEL, ADDRESS, AGENT = "planted-label", "198.51.100.77", "planted-agent/1.0"
PLANTED = (EMAIL, NAME, STREET, LABEL, ADDRESS, AGENT)
ACTOR = Actor.user(1, label=LABEL)
REQUEST = Request(id="r1", client_address=ADDRESS, user_agent=AGENT, method="GET", route="/")
PRIVACY = Privacy(erasable={"label", "client_address", "user_agent"})


@dataclass
class Shop:
    """An application with erasable values, under a trail."""

    engine: Engine
    sessions: sessionmaker[Session]
    trail: AuditTrail
    customer: Any
    address: Any

    def fill(self) -> None:
        """Create, change and delete rows of the person 1, with every kind of erasable value."""
        with self.acting() as session:
            session.add(self.customer(id=1, email=EMAIL, full_name="x", notes={"a": 1}))
            session.flush()
            session.add(self.address(id=5, customer_id=1, street=STREET))
        with self.acting() as session:
            session.execute(update(self.customer).values(full_name=NAME))
        with self.acting() as session:
            session.execute(delete(self.address))

    @contextmanager
    def acting(self) -> Iterator[Session]:
        """Open a transaction in a request of the person."""
        with audit_context(actor=ACTOR, request=REQUEST), self.sessions.begin() as session:
            yield session

    def erase(self, kind: str = "customer", id_: str = "1", **options: Any) -> Any:
        """Erase, in a transaction of its own."""
        with audit_context(actor=Actor.system("privacy")), self.sessions.begin() as session:
            return self.trail.erase(session, kind, id_, **options)

    def erase_person(self) -> None:
        """Erase the values of the person, in the live tables and in the trail."""
        with audit_context(actor=Actor.system("privacy")), self.sessions.begin() as session:
            session.execute(update(self.customer).values(email=None, full_name=None))
        self.erase("customer")
        self.erase("user")

    def seal(self) -> None:
        """Seal all rows."""
        Sealer(self.engine, self.trail.tables, mac_key=MAC_KEY, signing_key=SIGNING).seal()

    def verify(self) -> list[str]:
        """Verify; return the findings."""
        with _reading(self.engine) as connection:
            keys = [SIGNING.public]
            report = verify_trail(connection, self.trail.tables, MAC_KEY, keys)
        return [f"{one.kind}: {one.detail}" for one in report.findings]

    def differences(self) -> list[Any]:
        """Replay the trail; return the differences from the live tables."""
        metadata = self.trail.tables.event.metadata
        with _reading(self.engine) as connection:
            found = check_state(connection, self.trail.tables, metadata, mac_key=MAC_KEY)
        return found.differences

    def dump(self) -> str:
        """Every value of every table as text, encrypted ones in all their bytes."""
        with self.engine.connect() as connection:
            names = inspect(connection).get_table_names()
            tables = [select(text("*")).select_from(table(name)) for name in names]
            rows = [row for one in tables for row in connection.execute(one)]
        return "\n".join(_text(value) for row in rows for value in row)

    def events(self) -> list[Any]:
        """The events as an application reads them, oldest first."""
        with self.sessions() as session:
            return [*self.trail.events(session)][::-1]

    def execute(self, statement: str) -> None:
        """Execute a statement as an attacker of the database."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement)


@contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    """One snapshot; every transaction of SQLite is one."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.name == "postgresql" else {}
    with engine.execution_options(**options).connect() as connection:
        yield connection


def _text(value: object) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)


Open = Callable[..., Shop]


@pytest.fixture
def opened(engine: Engine) -> Iterator[Open]:
    """Open an application; its models are unmapped afterwards."""
    registries: list[registry] = []

    def make(**options: Any) -> Shop:
        class Base(DeclarativeBase):
            type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012 (SQLAlchemy's)

        class Customer(Base):
            __tablename__ = "erasable_customer"
            __audit__ = Policy(erasable={"email", "full_name"}, represent={"full_name": str.upper})

            id: Mapped[int] = mapped_column(primary_key=True)
            email: Mapped[str | None]
            full_name: Mapped[str | None]
            notes: Mapped[dict[str, Any] | None]

        class Address(Base):
            __tablename__ = "erasable_address"
            __audit__ = Policy(erasable={"street"}, subject=("customer", "customer_id"))

            id: Mapped[int] = mapped_column(primary_key=True)
            customer_id: Mapped[int | None] = mapped_column(ForeignKey(Customer.id))
            street: Mapped[str | None]

        registries.append(Base.registry)
        sessions = sessionmaker(engine)
        given: Any = {"mac_key": MAC_KEY, "erasure_key": KEY, "privacy": PRIVACY} | options
        trail = AuditTrail(sessions, metadata=Base.metadata, **given)
        Base.metadata.create_all(engine)
        return Shop(engine, sessions, trail, Customer, Address)

    yield make
    for each in registries:
        each.dispose()


@pytest.fixture
def shop(opened: Open) -> Shop:
    """An application that has recorded the person's values."""
    made = opened()
    made.fill()
    return made


def test_values_are_shown_until_they_are_erased(shop: Shop) -> None:
    """The application reads them as any others, and the bodies do not have them."""
    created, address, changed, deleted = shop.events()
    assert (EMAIL, STREET, NAME) == (
        created.new["email"],
        address.new["street"],
        changed.new["full_name"],
    )
    assert {"old": "X", "new": NAME.upper()} == changed.metadata["readable"]["full_name"]
    assert (STREET, LABEL) == (deleted.old["street"], created.actor.label)
    assert (ADDRESS, AGENT) == (created.request.client_address, created.request.user_agent)
    assert not [value for value in PLANTED if value in _bodies(shop)]
    assert {"a": 1} == created.new["notes"]


def _bodies(shop: Shop) -> str:
    with shop.engine.connect() as connection:
        return "\n".join(connection.scalars(select(shop.trail.tables.event.c.body)))


def test_actor_is_found_by_an_erasable_label_until_it_is_erased(shop: Shop) -> None:
    """The label stands for the id of the actor."""
    for wanted, found in (("1", 4), (LABEL, 4), ("unknown", 0)):
        with shop.sessions() as session:
            assert found == len([*shop.trail.events(session, actor=wanted)])
    with shop.sessions() as session:
        assert [] == [*shop.trail.events(session, exclude={"actor": LABEL})]
        assert [] == [*shop.trail.events(session, actor=LABEL, tenant="north")]
    behalf = Actor.user(8, label="planted-lee")
    with audit_context(on_behalf_of=behalf), shop.acting() as session:
        session.execute(update(shop.customer).values(email="new"))
    for wanted, found in (("8", 1), ("planted-lee", 1), (LABEL, 0)):
        with shop.sessions() as session:
            assert found == len([*shop.trail.events(session, on_behalf_of=wanted)])
    shop.erase("user")
    with shop.sessions() as session:
        assert [] == [*shop.trail.events(session, actor=LABEL)]


def test_erased_values_are_in_no_table(shop: Shop) -> None:
    """The database has them nowhere, and readers see that they were erased."""
    shop.erase_person()
    dump = shop.dump()
    assert [] == [value for value in (*PLANTED, NAME.upper()) if value in dump]
    created, *_ = shop.events()
    assert {"$erased": True} == created.new["email"]
    assert {"$erased": True} == created.metadata["readable"]["full_name"]["new"]
    assert (None, "1", None) == (created.actor.label, created.actor.id, created.request.user_agent)
    assert {"a": 1} == created.new["notes"]


def test_erasure_is_an_event_and_repeating_it_does_nothing(shop: Shop) -> None:
    """The event has the numbers and the reason, and none of the values."""
    dry = shop.erase(dry_run=True)
    first, second = shop.erase(reason="request 12"), shop.erase()
    assert (dry.values, dry.events, dry.event_id) == (first.values, first.events, None)
    assert (0, None) == (second.values, second.event_id)
    last = shop.events()[-1]
    assert ("trail.erased", "customer", "1", "request 12") == (
        last.action,
        last.target.type,
        last.target.id,
        last.reason,
    )
    assert {"values": first.values} == last.metadata
    assert first.event_id == last.event_id


def test_seal_proofs_and_state_hold_after_an_erasure(shop: Shop) -> None:
    """An old proof, the seal, the exports and the replay of the state are as before."""
    shop.seal()
    event_id = shop.events()[0].event_id
    with _reading(shop.engine) as connection:
        before = prove_event(connection, shop.trail.tables, event_id)
    assert before is not None
    assert ([], []) == (shop.verify(), shop.differences())
    shop.erase_person()
    shop.seal()
    assert ([], []) == (shop.verify(), shop.differences())
    with _reading(shop.engine) as connection:
        after = prove_event(
            connection, shop.trail.tables, event_id, from_size=before.checkpoint.size
        )
    assert after is not None
    assert before.leaf.body == after.leaf.body
    assert after.consistency


def test_exports_have_the_values_until_they_are_erased(shop: Shop) -> None:
    """JSON lines have disclosures that can be checked, and CSV has the values."""
    shop.seal()
    ndjson, csv = _exports(shop)
    assert all(value in csv for value in (EMAIL, NAME, STREET, LABEL))
    assert {*PLANTED, "x", "X", NAME.upper()} == _disclosed(ndjson)
    assert check_export(ndjson.splitlines(), [SIGNING.public]) is None
    one = json.loads(ndjson.splitlines()[0])["disclosures"][0]
    assert "a disclosure does not match its event" == check_export(
        ndjson.replace(one, f"{one}A").splitlines(), [SIGNING.public]
    )


def test_exports_have_no_erased_values(shop: Shop) -> None:
    """An export is complete without them."""
    shop.erase_person()
    shop.seal()
    ndjson, csv = _exports(shop)
    assert [] == [value for value in PLANTED if value in csv]
    assert {"privacy"} == _disclosed(ndjson)  # the label of the actor of the erasure
    assert check_export(ndjson.splitlines(), [SIGNING.public]) is None


def _disclosed(ndjson: str) -> set[Any]:
    lines = [json.loads(line) for line in ndjson.splitlines()]
    return {disclosed_value(one) for line in lines for one in line.get("disclosures", ())}


def _exports(shop: Shop) -> tuple[str, str]:
    def read(work: Callable[..., Any]) -> Any:
        with _reading(shop.engine) as connection:
            return work(connection)

    tables = shop.trail.tables
    both = (export(read, tables, EventFilter()) for export in (export_ndjson, export_csv))
    ndjson, csv = ("".join(lines) for lines in both)
    return ndjson, csv


@pytest.mark.parametrize(
    ("attack", "problem"),
    [
        ("DELETE FROM audit_disclosure", "is missing, and"),
        ("DELETE FROM audit_subject_key", "its key is missing"),
        (
            "UPDATE audit_disclosure SET encrypted = (SELECT max(encrypted) FROM audit_disclosure)",
            "does not match the body",
        ),
        ("UPDATE audit_disclosure SET subject_id = '2'", "has another subject"),
        (
            "UPDATE audit_disclosure SET event_id = (SELECT event_id FROM audit_event LIMIT 1)",
            "belongs to no value of the event",
        ),
    ],
)
def test_changed_disclosures_are_found(shop: Shop, attack: str, problem: str) -> None:
    """Only an erasure removes a disclosure without a finding."""
    shop.seal()
    assert [] == shop.verify()
    shop.execute(attack)
    assert any(problem in one for one in shop.verify())


def test_value_that_is_forged_with_the_keys_is_found_and_not_shown(shop: Shop) -> None:
    """The commitment in the body binds even an attacker who has the erasure key."""
    disclosure, key = shop.trail.tables.disclosure, shop.trail.tables.subject_key
    forged = Disclosure(("changes", "email", "new"), Subject("customer", "1"), "forged", b"x" * 16)
    with shop.engine.begin() as connection:
        own = disclosure.c.key_id == key.c.key_id
        rows = connection.execute(select(disclosure.c.sha256, key.c.wrapped).where(own)).all()
        for sha256, wrapped in rows:
            secret = KEY.unwrap(bytes(wrapped))
            assert secret is not None
            value = SubjectCipher(secret).encrypt(forged.text, sha256, b"n" * 12)
            changed = update(disclosure).where(disclosure.c.sha256 == sha256)
            connection.execute(changed.values(encrypted=value))
    assert {"$erasable": True} == shop.events()[0].new["email"]
    shop.seal()
    assert len(rows) == len([one for one in shop.verify() if "does not match the body" in one])


def test_disclosure_removed_after_the_erasure_is_found(shop: Shop) -> None:
    """An erasure covers only the events before it."""
    shop.erase_person()
    with shop.acting() as session:
        session.execute(update(shop.customer).values(email=EMAIL))
    shop.seal()
    assert [] == shop.verify()
    shop.execute("DELETE FROM audit_disclosure")
    assert any("changes.email.new is missing" in one for one in shop.verify())


def test_earlier_state_has_a_stand_in_for_an_erased_value(shop: Shop) -> None:
    """The state is told without it, and a change to it cannot be undone."""
    changed = shop.events()[2]
    with shop.sessions() as session:
        before = shop.trail.as_of(session, shop.customer, 1, changed)
    shop.erase()
    with shop.sessions() as session:
        after = shop.trail.as_of(session, shop.customer, 1, changed)
    assert before is not None
    assert after is not None
    assert (EMAIL, Erased()) == (before.values["email"], after.values["email"])
    assert {"a": 1} == after.values["notes"]
    erased = shop.events()[3]
    with (
        audit_context(actor=ACTOR),
        shop.sessions.begin() as session,
        pytest.raises(RevertError, match="erased"),
    ):
        shop.trail.revert(session, erased)


def test_deletion_is_undone_while_its_values_exist(shop: Shop) -> None:
    """The row is restored from the disclosures."""
    with shop.acting() as session:
        shop.trail.revert(session, shop.events()[3])
    with shop.sessions() as session:
        assert STREET == session.scalars(select(shop.address.street)).one()
    assert [] == shop.differences()


def test_values_of_another_program_are_erasable(shop: Shop) -> None:
    """The worker records them as the application does."""
    other = shop.engine.raw_connection()
    other.cursor().execute("UPDATE erasable_customer SET email = 'other-' || email")
    other.commit()
    other.close()
    assert 1 == Undrained(shop.engine, shop.trail.tables, mac_key=MAC_KEY).take()
    assert f"other-{EMAIL}" == shop.events()[-1].new["email"]
    shop.erase_person()
    assert EMAIL not in shop.dump()


def test_baseline_of_erasable_values_is_erasable(opened: Open) -> None:
    """The values of rows that are older than the trail are disclosed as those of a creation."""
    shop = opened()
    with shop.acting() as session, shop.trail.unaudited(reason="import"):
        session.add(shop.customer(id=1, email=EMAIL))
        session.flush()
        session.add(shop.address(id=5, customer_id=1, street=STREET))
        session.flush()
    with audit_context(actor=Actor.system("baseline")), shop.sessions() as session:
        assert 2 == shop.trail.baseline(session, shop.customer, shop.address)
    values = [event.new for event in shop.events() if event.action.endswith(".baseline")]
    assert [EMAIL, STREET] == [values[0]["email"], values[1]["street"]]
    shop.erase()
    assert STREET not in _bodies(shop)
    assert {"$erased": True} == shop.events()[-2].new["street"]


def test_values_of_a_changed_owner_belong_to_each(opened: Open) -> None:
    """An old value belongs to the former owner, and a row without an owner to itself."""
    shop = opened(privacy=None)
    with shop.acting() as session:
        session.add_all([shop.customer(id=1), shop.customer(id=2)])
        session.flush()
        session.add(shop.address(id=5, customer_id=1, street="first"))
        session.add(shop.address(id=6, street="own"))
    with shop.acting() as session:
        moved = update(shop.address).where(shop.address.id == 5)
        session.execute(moved.values(customer_id=2, street="second"))
    assert [2, 1, 1] == [
        shop.erase(*subject).values
        for subject in (("customer", "1"), ("customer", "2"), ("address", "6"))
    ]


def test_rolled_back_erasure_leaves_the_values(shop: Shop) -> None:
    """The erasure belongs to the caller's transaction."""
    with pytest.raises(ZeroDivisionError), shop.acting() as session:
        shop.trail.erase(session, "customer", 1)
        raise ZeroDivisionError
    assert EMAIL == shop.events()[0].new["email"]


def test_subject_may_erase_itself(shop: Shop) -> None:
    """The event of the erasure does not disclose the label of its own actor."""
    with shop.acting() as session:
        shop.trail.erase(session, "user", 1)
    assert LABEL not in shop.dump()
    assert ("trail.erased", None) == (shop.events()[-1].action, shop.events()[-1].actor.label)
    shop.seal()
    assert [] == shop.verify()


def test_write_without_an_erasure_key_is_refused(
    opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The change does not commit, and the error says how to create the key."""
    monkeypatch.setenv("AUDITSPAN_DATA_DIR", str(tmp_path))
    shop = opened(erasure_key=None, privacy=None)
    with pytest.raises(KeyFileError, match="auditspan keys init"), shop.acting() as session:
        session.add(shop.customer(id=1, email=EMAIL))
    with shop.acting() as session:
        session.add(shop.customer(id=1))  # without an erasable value, no key is needed
    assert [{"id": 1, "email": None, "full_name": None, "notes": None}] == [
        one.new for one in shop.events()
    ]


def test_reader_without_the_key_sees_no_values(shop: Shop) -> None:
    """It can tell a locked value from an erased one, and verifies the rest."""
    shop.trail.tables.event.metadata.info.pop("auditspan.erasure_keys")
    assert {"$erasable": True} == shop.events()[0].new["email"]
    shop.seal()
    assert ([], []) == (shop.verify(), shop.differences())


def test_equal_values_have_different_commitments(shop: Shop) -> None:
    """A guess cannot be confirmed, and equal values cannot be recognized."""
    with shop.acting() as session:
        session.add(shop.customer(id=2, email=EMAIL))
    entries = [one for body in _bodies(shop).splitlines() for one in read_event(body)["erasable"]]
    assert len(entries) == len(set(entries))


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (Policy(erasable={"id"}), "primary key"),
        (Policy(erasable={"mail"}), "no such column"),
        (Policy(erasable={"email"}, subject=("user", "owner")), "no such column"),
        (Policy(erasable={"email"}, subject=("user", "n"), exclude={"n"}), "not recorded"),
    ],
)
def test_impossible_policy_is_refused(policy: Policy, problem: str) -> None:
    """A mistake is found when the model is mapped."""

    class Base(DeclarativeBase): ...

    class Person(Base):
        __tablename__ = "impossible"
        __audit__ = policy
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str]
        n: Mapped[int]

    with pytest.raises(AuditConfigError, match=problem):
        Base.registry.configure()
    Base.registry.dispose()


def test_unknown_member_is_not_erasable() -> None:
    """Only the label, the address and the agent of an actor are."""
    with pytest.raises(AuditConfigError, match="client_address"):
        Privacy(erasable={"reason"})


def test_events_without_erasable_values_are_unchanged(opened: Open) -> None:
    """Their bodies lack the member, and no disclosure is stored."""
    shop = opened(privacy=None)
    with shop.acting() as session:
        session.add(shop.customer(id=1, notes={"$erasable": True}))
    body = json.loads(_bodies(shop))
    assert "erasable" not in body
    assert {"$json": '{"$erasable":true}'} == body["changes"]["notes"]["new"]


def test_erasures_beside_writes_lose_no_value_and_leave_no_finding(shop: Shop) -> None:
    """Whatever the order: each value is shown or erased, and the trail verifies."""

    def write(number: int) -> None:
        for step in range(8):
            with shop.acting() as session:
                session.add(shop.address(id=100 * number + step, customer_id=1, street=STREET))

    def erase(_number: int) -> int:
        return sum(int(shop.erase().values) for _ in range(6))

    with ThreadPoolExecutor(4) as pool:
        written = [pool.submit(write, number) for number in (1, 2, 3)]
        erased = pool.submit(erase, 0)
        for one in written:
            one.result()
    shown = [event.new["street"] for event in shop.events() if event.action == "address.create"]
    assert {type(value) for value in shown} <= {str, dict}
    assert 25 == len(shown)
    rest = shop.erase().values
    assert 25 + 8 == erased.result() + rest  # the streets, and the other values of `fill`
    shop.seal()
    assert ([], []) == (shop.verify(), shop.differences())
    assert STREET not in _bodies(shop)


def test_erasure_at_another_isolation_level_is_refused(shop: Shop) -> None:
    """It would not see what others have committed; on SQLite there is only one writer."""
    if shop.engine.name == "sqlite":
        with shop.acting() as session:
            assert shop.trail.erase(session, "customer", 1).values
        return
    options = {"isolation_level": "REPEATABLE READ"}
    with (
        audit_context(actor=ACTOR),
        shop.sessions() as session,
        pytest.raises(AuditConfigError, match="READ COMMITTED"),
    ):
        session.connection(execution_options=options)
        shop.trail.erase(session, "customer", 1)


def test_write_at_repeatable_read_does_not_use_an_erased_key(shop: Shop) -> None:
    """Its snapshot may be older than the erasure, so that it creates a key of its own."""
    options = {"isolation_level": "REPEATABLE READ"} if shop.engine.name == "postgresql" else {}
    with audit_context(actor=ACTOR), shop.sessions() as session:
        connection = session.connection(execution_options=options)
        connection.execute(select(shop.customer.id)).all()
        if shop.engine.name == "postgresql":
            shop.erase()
        session.add(shop.address(id=9, customer_id=1, street=STREET))
        session.commit()
    assert STREET == shop.events()[-1].new["street"]
    shop.seal()
    assert [] == shop.verify()


def test_remembered_key_is_not_used_after_an_erasure(shop: Shop) -> None:
    """Values that are written afterwards get a new key, can be read, and can be erased again."""
    with shop.acting() as session:
        session.execute(update(shop.customer).values(full_name="y"))
    shop.erase_person()
    with shop.acting() as session:
        session.execute(update(shop.customer).values(full_name=NAME, email=EMAIL))
    newest = shop.events()[-1]
    assert (NAME, LABEL) == (newest.new["full_name"], newest.actor.label)
    shop.seal()
    assert [] == shop.verify()
    shop.erase_person()
    assert [] == [one for one in PLANTED if one in shop.dump()]
    assert [] == shop.verify()


def test_key_of_a_rolled_back_transaction_is_not_used(shop: Shop) -> None:
    """The process remembers it, but the database does not have it."""
    shop.erase()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), shop.acting() as session, session.begin_nested():
            session.execute(update(shop.customer).values(email="undone@example.org"))
            shop.trail.record(session, "customer.seen")  # the row above is written before it
            raise ZeroDivisionError
    with shop.acting() as session:
        session.execute(update(shop.customer).values(email="again@example.org"))
    assert "again@example.org" == shop.events()[-1].new["email"]
    shop.seal()
    assert [] == shop.verify()


def test_disclosures_are_inserted_in_one_statement_or_many(shop: Shop) -> None:
    """Both ways store what is read again."""
    for count in (1, 5, 6, 30):
        with shop.acting() as session:
            ids = range(100 * count, 101 * count)
            rows = [{"id": id_, "email": f"{id_}@example.org"} for id_ in ids]
            session.execute(insert(shop.customer), rows)
        found = {event.new["email"] for event in shop.events()[-count:]}
        assert {row["email"] for row in rows} == found
    shop.seal()
    assert [] == shop.verify()


def test_page_runs_as_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blocks of docs/how-to/erase-a-person.md print what the page shows."""
    monkeypatch.chdir(tmp_path)
    load_or_create_erasure_keys(tmp_path / ".auditspan/keys/erasure.key", create=True)
    names: dict[str, Any] = {}
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)  # noqa: S102 (its claim)
    names["engine"].dispose()
    names["Base"].registry.dispose()
    (shown,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert shown == capsys.readouterr().out


def test_values_of_joined_inheritance_are_erasable(engine: Engine) -> None:
    """Columns of each table of an object are, with the key of that table as the subject."""

    class Base(DeclarativeBase): ...

    class Person(Base):
        __tablename__ = "erasable_person"
        __audit__ = Policy(erasable={"email"}, subject=("person", "id"))
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012

        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        email: Mapped[str | None]

    class Member(Person):
        __tablename__ = "erasable_member"
        __audit__ = Policy(erasable={"email", "nickname"}, subject=("person", "id"))
        __mapper_args__ = {"polymorphic_identity": "member"}  # noqa: RUF012

        id: Mapped[int] = mapped_column(ForeignKey(Person.id), primary_key=True)
        nickname: Mapped[str | None]

    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata, mac_key=MAC_KEY, erasure_key=KEY)
    Base.metadata.create_all(engine)
    shop = Shop(engine, sessions, trail, Person, Member)
    with shop.acting() as session:
        session.add(Member(id=1, email=EMAIL, nickname=NAME))
    with shop.acting() as session:
        session.execute(update(Member.__table__).values(nickname=STREET))  # type: ignore[arg-type]
    assert (EMAIL, NAME) == (shop.events()[0].new["email"], shop.events()[0].new["nickname"])
    assert 4 == shop.erase("person").values
    assert {"$erased": True} == shop.events()[1].new["nickname"]
    shop.seal()
    assert ([], []) == (shop.verify(), shop.differences())
    Base.registry.dispose()
