"""Types beyond the ordinary: PostgreSQL's own, custom ones, and values with odd manners."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import ARRAY, Engine, Integer, String, create_engine, insert, update
from sqlalchemy.dialects.postgresql import CIDR, INET, INT4RANGE, JSONB, MACADDR, Range
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, sessionmaker
from sqlalchemy.types import TypeDecorator

from auditspan import AuditTrail, audit_context
from auditspan.testing import captured
from integration.library.world import KEY, KIM


class Own(DeclarativeBase):
    """A PostgreSQL application."""


class Host(Own):
    __tablename__ = "host"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(String, nullable=True)
    address: Mapped[Any] = mapped_column(INET, nullable=True)
    network: Mapped[Any] = mapped_column(CIDR, nullable=True)
    mac: Mapped[Any] = mapped_column(MACADDR, nullable=True)
    ports: Mapped[Any] = mapped_column(ARRAY(Integer), nullable=True)
    names: Mapped[Any] = mapped_column(ARRAY(String), nullable=True)
    data: Mapped[Any] = mapped_column(JSONB, nullable=True)
    span: Mapped[Any] = mapped_column(INT4RANGE, nullable=True)


OLD_AND_NEW = {
    "address": ("10.0.0.1", ipaddress.ip_address("10.0.0.2"), "10.0.0.1", "10.0.0.2"),
    "network": ("10.0.0.0/8", ipaddress.ip_network("11.0.0.0/8"), "10.0.0.0/8", "11.0.0.0/8"),
    "mac": ("08:00:2b:01:02:03", "08:00:2b:01:02:04", "08:00:2b:01:02:03", "08:00:2b:01:02:04"),
    "ports": ([1, 2], [2, 1], [1, 2], [2, 1]),
    "names": (["a", None], [], ["a", None], []),
    "data": ({"a": [1]}, {"a": [1, 2]}, {"a": [1]}, {"a": [1, 2]}),
    "span": (Range(1, 5), Range(1, 6), "[1,5)", "[1,6)"),
}


@pytest.fixture
def own(postgresql_engine: Engine) -> Any:
    """Sessions of the application, under a trail."""
    sessions = sessionmaker(postgresql_engine)
    trail = AuditTrail(sessions, metadata=Own.metadata, mac_key=KEY)
    Own.metadata.tables["host"].create(postgresql_engine)
    return sessions, trail


@pytest.mark.parametrize("by", ["object", "statement"])
@pytest.mark.parametrize("column", OLD_AND_NEW)
def test_postgresql_value_is_recorded_as_its_text(own: Any, column: str, by: str) -> None:
    """Old and new, of an object and of a statement alike; an equal value leaves no row."""
    sessions, trail = own
    first, second, old, new = OLD_AND_NEW[column]
    with audit_context(actor=KIM), captured(trail, sessions) as events:
        with sessions.begin() as session:
            session.add(Host(**{column: first}))
        for value in (second, second):
            with sessions.begin() as session:
                if by == "object":
                    setattr(session.get_one(Host, 1), column, value)
                else:
                    session.execute(update(Host).values({column: value}))
    assert ["host.create", "host.update"] == events.actions
    assert {column: {"old": old, "new": new}} == events[1]["changes"]


@dataclass(frozen=True)
class Money:
    """A value of the application."""

    amount: Decimal
    currency: str


class MoneyType(TypeDecorator[Money]):
    """Kept as text."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Money | None, _dialect: Any) -> str | None:
        return None if value is None else f"{value.amount} {value.currency}"

    def process_result_value(self, value: str | None, _dialect: Any) -> Money | None:
        return None if value is None else Money(Decimal(value.split()[0]), value.split()[1])


class EncryptedType(TypeDecorator[str]):
    """Secret by what it is, whatever its column is called."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Any) -> str | None:
        return None if value is None else value[::-1]

    def process_result_value(self, value: str | None, _dialect: Any) -> str | None:
        return None if value is None else value[::-1]


class Other(MappedAsDataclass, DeclarativeBase):
    """Dataclasses as models."""


class Wallet(Other):
    __tablename__ = "wallet"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    balance: Mapped[Money] = mapped_column(MoneyType)
    answer: Mapped[str | None] = mapped_column(EncryptedType, default=None)

    def __eq__(self, _other: object) -> bool:
        raise AssertionError("compared")

    def __hash__(self) -> int:
        raise AssertionError("hashed")

    def __bool__(self) -> bool:
        raise AssertionError("asked whether it is true")


@pytest.mark.parametrize("by", ["object", "statement"])
def test_custom_type_is_recorded_as_stored(by: str) -> None:
    """Also in a dataclass that cannot be compared or hashed; an encrypted one is redacted."""
    engine = create_engine("sqlite://")
    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Other.metadata, mac_key=KEY)
    Other.metadata.create_all(engine)
    five, six = Money(Decimal("5.00"), "EUR"), Money(Decimal("6.00"), "EUR")
    with audit_context(actor=KIM), captured(trail, engine) as events:
        with sessions.begin() as session:
            if by == "object":
                session.add(Wallet(balance=five, answer="planted"))
            else:
                session.execute(insert(Wallet).values(balance=five, answer="planted"))
        with sessions.begin() as session:
            if by == "object":
                session.get_one(Wallet, 1).balance = six
            else:
                session.execute(update(Wallet).values(balance=six))
    engine.dispose()
    assert {"old": "5.00 EUR", "new": "6.00 EUR"} == events[1]["changes"]["balance"]
    assert ["balance"] == list(events[1]["changes"])
    assert events[0]["changes"]["answer"]["new"]["$redacted"]
