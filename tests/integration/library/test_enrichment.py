"""Metadata that an application adds to every record, and values that it keeps out of all."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Engine, String, TypeDecorator, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, registry, sessionmaker

from auditspan import (
    Actor,
    AuditConfigError,
    AuditTrail,
    AuditWriteError,
    ForeignEvent,
    MacKey,
    Policy,
    Privacy,
    Request,
    audit_context,
)
from auditspan.format import parse_canonical
from auditspan.seal import Undrained

PAGE = Path(__file__).parents[3] / "docs/how-to/enrich-and-redact.md"
KEY = MacKey.from_secret(bytes(range(32)))
KIM = Actor.user(7)
SECRET = "planted-secret"
ADDRESS, AGENT = "198.51.100.7", "planted-agent/1.0"
ASKED = Request(id="1", client_address=ADDRESS, user_agent=AGENT, method="GET", route="/")
STATES = {1: "draft", 2: "sent"}
Json = Mapping[str, Any]


class _Money(TypeDecorator[str]):
    """An amount that is stored as text, as "EUR 1250" in cents."""

    impl = String
    cache_ok = True


@dataclass
class Shop:
    """An application of one model under a trail of its own."""

    trail: AuditTrail
    sessions: sessionmaker[Session]
    model: Any
    engine: Engine

    def add(self, **values: Any) -> None:
        """Create an order."""
        with audit_context(actor=KIM), self.sessions.begin() as session:
            session.add(self.model(**values))

    def events(self) -> list[Json]:
        """The committed bodies."""
        table = self.trail.tables.event
        with self.engine.connect() as connection:
            bodies = list(connection.scalars(select(table.c.body).order_by(table.c.id)))
        return [parse_canonical(body) for body in bodies]  # type: ignore[misc]  # objects


Open = Callable[..., Shop]


@pytest.fixture
def shop(engine: Engine) -> Iterator[Open]:
    """Open an application with a policy and options of the trail; its models are unmapped after."""
    registries: list[registry] = []

    def opened(policy: Policy | None = None, **options: Any) -> Shop:
        class Base(DeclarativeBase):
            type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012 (SQLAlchemy's)

        class Order(Base):
            __tablename__ = "shop_order"
            __audit__ = policy or True

            id: Mapped[int] = mapped_column(primary_key=True)
            state: Mapped[int | None]
            price: Mapped[str | None] = mapped_column(_Money())
            home_phone: Mapped[str | None]
            details: Mapped[dict[str, Any] | None]
            token: Mapped[str | None]

        registries.append(Base.registry)
        sessions = sessionmaker(engine)
        trail = AuditTrail(sessions, metadata=Base.metadata, **({"mac_key": KEY} | options))
        Base.metadata.create_all(engine)
        return Shop(trail, sessions, Order, engine)

    yield opened
    for each in registries:
        each.dispose()


def test_every_record_has_the_metadata_of_enrich(shop: Open) -> None:
    """Objects, statements, raw SQL and events have it; a nearer source takes precedence."""
    own = shop(enrich=lambda: {"release": "7", "region": "eu", "api_key": SECRET})
    own.add(id=1)
    with audit_context(actor=KIM, metadata={"region": "us"}), own.sessions.begin() as session:
        session.execute(update(own.model).values(state=1))
        session.execute(text("UPDATE shop_order SET state = 2"))
        own.trail.record(session, "order.exported", metadata={"release": "8"})
    found = [event["metadata"] for event in own.events()]
    hidden = {"$redacted": True}
    assert [
        {"release": "7", "region": "eu", "api_key": hidden},
        {"release": "7", "region": "us", "api_key": hidden},
        {"release": "7", "region": "us", "api_key": hidden},
        {"release": "8", "region": "us", "api_key": hidden},
    ] == found


@pytest.mark.parametrize("returned", [ValueError(SECRET), 7])
def test_enrich_that_fails_refuses_the_change(shop: Open, returned: object) -> None:
    """Nothing is written, and the message names the function and no value."""

    def enrich() -> Any:
        if isinstance(returned, Exception):
            raise returned
        return returned

    own = shop(enrich=enrich)
    with pytest.raises(AuditWriteError, match="enrich") as refused:
        own.add(id=1)
    with own.sessions() as session:
        assert [] == list(session.scalars(select(own.model)))
    assert [] == own.events()
    assert SECRET not in str(refused.value)


def test_names_of_privacy_are_redacted_in_every_place(shop: Open) -> None:
    """In columns, members of JSON columns, metadata and events of other programs."""
    own = shop(privacy=Privacy(redact={"*_PHONE", "iban"}), enrich=lambda: {"iban": SECRET})
    own.add(id=1, home_phone=SECRET, details={"bank": [{"IBAN": SECRET, "name": "kim"}]})
    with audit_context(actor=KIM), own.sessions.begin() as session:
        session.get_one(own.model, 1).home_phone = f"{SECRET} 2"
        own.trail.record(session, "order.exported", metadata={"work_phone": SECRET})
    own.trail.ingest(
        [
            ForeignEvent(
                action="call.made",
                changes={"home_phone": {"new": SECRET}},
                metadata={"iban": SECRET},
            )
        ],
        producer=Actor.service("calls"),
    )
    created, *_ = own.events()
    assert {"$redacted", "$fingerprint"} == set(created["changes"]["home_phone"]["new"])
    assert "kim" == created["changes"]["details"]["new"]["bank"][0]["name"]
    with own.engine.connect() as connection:
        stored = [str(row) for row in connection.execute(select(own.trail.tables.event))]
        staged = connection.scalar(text("SELECT count(*) FROM audit_change WHERE id > 0"))
    assert (4, []) == (len(stored), [row for row in stored if SECRET in row])
    assert 0 == staged


def test_a_policy_that_reveals_a_name_of_privacy_takes_precedence(shop: Open) -> None:
    """The decision about one column is the more specific one."""
    own = shop(Policy(reveal={"home_phone"}), privacy=Privacy(redact={"*_phone", "state"}))
    own.add(id=1, home_phone="1234", state=1)
    changes = own.events()[0]["changes"]
    assert "1234" == changes["home_phone"]["new"]
    assert {"$redacted", "$fingerprint"} == set(changes["state"]["new"])


def test_models_that_were_mapped_before_the_trail_are_kept_private(shop: Open) -> None:
    """A later trail over the same metadata cannot loosen it either."""
    own = shop()
    own.add(id=1, home_phone="1234")
    other = sessionmaker(own.engine)
    metadata = own.model.metadata
    AuditTrail(other, metadata=metadata, mac_key=KEY, privacy=Privacy(redact={"home_phone"}))
    AuditTrail(sessionmaker(own.engine), metadata=metadata, mac_key=KEY, privacy=Privacy())
    own.add(id=2, home_phone="1234")
    first, second = [event["changes"]["home_phone"]["new"] for event in own.events()]
    assert ("1234", True) == (first, second["$redacted"])


def test_privacy_that_redacts_a_key_is_refused(shop: Open) -> None:
    """Every target id contains the primary key."""
    own = shop()
    own.add(id=1)
    with pytest.raises(AuditConfigError, match="the primary key 'id' of Order is redacted"):
        AuditTrail(
            sessionmaker(own.engine), metadata=own.model.metadata, privacy=Privacy(redact={"i?"})
        )


def test_privacy_refuses_one_text_as_names() -> None:
    """Its characters would be taken for names."""
    with pytest.raises(AuditConfigError, match="expected a collection of names"):
        Privacy(redact="iban")


@pytest.mark.parametrize(
    ("privacy", "expected"),
    [
        (Privacy(), (ADDRESS, AGENT)),
        (Privacy(client_address=False), (None, AGENT)),
        (Privacy(user_agent=False), (ADDRESS, None)),
    ],
)
def test_client_address_and_user_agent_can_be_left_out(
    shop: Open, privacy: Privacy, expected: tuple[str | None, str | None]
) -> None:
    """The rest of the request is recorded."""
    own = shop(privacy=privacy)
    with audit_context(request=ASKED):
        own.add(id=1)
    request = own.events()[0]["request"]
    assert ("1", *expected) == (request["id"], request["client_address"], request["user_agent"])


@pytest.mark.parametrize("shown", [True, False])
def test_address_of_another_program_can_be_left_out(shop: Open, *, shown: bool) -> None:
    """The worker finds the setting of the trail with its models."""
    own = shop(privacy=Privacy(client_address=shown))
    other = own.engine.raw_connection()
    other.cursor().execute("INSERT INTO shop_order (id) VALUES (1)")
    other.cursor().execute("UPDATE audit_change SET client_address = '198.51.100.7'")
    other.commit()
    other.close()
    assert 1 == Undrained(own.engine, own.trail.tables, mac_key=KEY).take()
    assert (ADDRESS if shown else None) == own.events()[0]["metadata"].get("client_address")


def _euros(stored: str) -> str:
    currency, cents = stored.split()
    return f"{int(cents) / 100:.2f} {currency}"


REPRESENT = Policy(represent={"state": STATES.__getitem__, "price": _euros, "token": str})


def test_readable_form_is_recorded_beside_the_stored_value(shop: Open) -> None:
    """The changes keep what the columns hold; NULL has no other form."""
    own = shop(REPRESENT)
    own.add(id=1, state=1, price="EUR 1250")
    with audit_context(actor=KIM), own.sessions.begin() as session:
        session.execute(update(own.model).values(state=2))
    created, changed = own.events()
    assert "EUR 1250" == created["changes"]["price"]["new"]
    assert {"state": {"new": "draft"}, "price": {"new": "12.50 EUR"}} == created["metadata"][
        "readable"
    ]
    assert {"readable": {"state": {"old": "draft", "new": "sent"}}} == changed["metadata"]


def test_readable_form_of_a_secret_is_not_made(shop: Open) -> None:
    """The function is not called for a redacted value, and its own text is redacted too."""
    own = shop(Policy(represent={"token": str, "price": lambda _: "$2b$12$R9h/cIPz0gi"}))
    own.add(id=1, token=SECRET, price="EUR 1")
    readable = own.events()[0]["metadata"]["readable"]
    assert ({"price"}, True) == (set(readable), readable["price"]["new"]["$redacted"])


def test_function_that_fails_leaves_the_readable_form_out(
    shop: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """The change is recorded, and a warning names the column and no value."""
    own = shop(REPRESENT)
    with caplog.at_level(logging.WARNING, "auditspan"):
        own.add(id=1, state=99, price=SECRET)
    assert {} == own.events()[0]["metadata"]
    assert "'price' failed with ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_policy_that_represents_an_unknown_column_is_refused(shop: Open) -> None:
    """A misspelt name is found when the model is mapped."""
    with pytest.raises(AuditConfigError, match="did you mean 'state'") as refused:
        shop(Policy(represent={"stat": str})).add(id=1)
    assert "stat" in "".join(traceback.format_exception(refused.value))


def test_page_runs_as_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The blocks of docs/how-to/enrich-and-redact.md leave the records that the page describes."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)  # noqa: S102 (its claim)
    names["engine"].dispose()
    event = names["event"]
    assert (1, True) == (event.new["state"], event.new["home_phone"]["$redacted"])
    assert {"release": "2026.11", "readable": {"state": {"new": "draft"}}} == event.metadata
