"""Models of an application that has nothing to do with auditspan's own service."""

from __future__ import annotations

import enum
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    func,
    text,
)
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from auditspan import Policy
from auditspan.storage.column_types import UtcDateTime
from support.replay import Kind


class Base(DeclarativeBase):
    pass


class Person(Base):
    """The ordinary case, with every way for a value to come from elsewhere."""

    __tablename__ = "person"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    full_name: Mapped[str | None] = mapped_column("fullName")
    age: Mapped[int] = mapped_column(default=18)
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    level: Mapped[int] = mapped_column(server_default=text("7"))
    bio: Mapped[str | None] = mapped_column(deferred=True)
    changes: Mapped[int] = mapped_column(default=0, onupdate=lambda: 5)
    touched: Mapped[str | None] = mapped_column(onupdate=func.lower("TOUCHED"))
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - as SQLAlchemy has it


class Account(Base):
    """Secrets, and columns with a policy."""

    __tablename__ = "account"
    __audit__ = Policy(redact={"iban"}, exclude={"notes"}, ignore={"touched_at"})

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    iban: Mapped[str | None]
    password_hash: Mapped[str | None]
    notes: Mapped[str | None]
    touched_at: Mapped[int] = mapped_column(default=0)


class Profile(Base):
    """Secrets inside of JSON: one that its name tells, one that only the policy knows."""

    __tablename__ = "profile"
    __audit__ = Policy(redact={"data.bank.iban"})

    id: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[Any] = mapped_column(MutableDict.as_mutable(JSON()))


class Chosen(Base):
    """Only what is included is recorded."""

    __tablename__ = "chosen"
    __audit__ = Policy(include={"api_key"}, name="pick")

    id: Mapped[int] = mapped_column(primary_key=True)
    api_key: Mapped[str]
    rest: Mapped[str]


class Seat(Base):
    """A composite key of text and number."""

    __tablename__ = "seat"
    __audit__ = True

    row: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    taken: Mapped[bool] = mapped_column(default=False)


class Colour(enum.Enum):
    """An enumeration whose values are not its names."""

    RED = "#f00"
    BLUE = "#00f"


class Thing(Base):
    """A column of each kind, under a key of text."""

    __tablename__ = "thing"
    __audit__ = True

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    price: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    ratio: Mapped[float | None]
    big: Mapped[int | None] = mapped_column(BigInteger)
    flag: Mapped[bool | None]
    colour: Mapped[Colour | None]
    born: Mapped[date | None]
    at: Mapped[time | None]
    seen: Mapped[datetime | None] = mapped_column(UtcDateTime())  # SQLite itself has no zones
    naive: Mapped[datetime | None] = mapped_column(DateTime())
    span: Mapped[timedelta | None] = mapped_column(Interval())
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    text: Mapped[str | None]
    data: Mapped[Any] = mapped_column(JSON, nullable=True)
    settings: Mapped[dict[str, Any] | None] = mapped_column(MutableDict.as_mutable(JSON()))


class Team(Base):
    """A parent whose children the unit of work deletes."""

    __tablename__ = "team"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    players: Mapped[list[Player]] = relationship(cascade="all, delete-orphan", lazy="select")
    fans: Mapped[list[Fan]] = relationship()


class Player(Base):
    """A child that goes with its parent."""

    __tablename__ = "player"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("team.id"))
    name: Mapped[str]


class Fan(Base):
    """A child that stays; its key into the parent becomes NULL."""

    __tablename__ = "fan"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id"))


class Pledge(Base):
    """Its foreign key is checked when the transaction commits, and not before."""

    __tablename__ = "pledge"
    __audit__ = True

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    person_id: Mapped[int] = mapped_column(
        Integer, ForeignKey("person.id", deferrable=True, initially="DEFERRED")
    )


class Device(Base):
    """Password hashes under innocent names, and innocent values under names that look secret."""

    __tablename__ = "device"
    __audit__ = Policy(reveal={"token", "data.token"})

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str | None]
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    data: Mapped[Any] = mapped_column(JSON, nullable=True)
    token: Mapped[str | None]
    token_expiration: Mapped[str | None]
    secretary_id: Mapped[int | None]


class Plain(Base):
    """Not audited."""

    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


#: What the oracle compares; redacted, excluded and ignored columns cannot be restored.
KINDS = {
    "person": Kind(table=Base.metadata.tables["person"]),
    "account": Kind(
        table=Base.metadata.tables["account"],
        hidden=frozenset({"iban", "password_hash", "notes", "touched_at"}),
    ),
    "profile": Kind(table=Base.metadata.tables["profile"], hidden=frozenset({"data"})),
    "pick": Kind(table=Base.metadata.tables["chosen"], hidden=frozenset({"rest"})),
    "seat": Kind(table=Base.metadata.tables["seat"]),
    "thing": Kind(table=Base.metadata.tables["thing"]),
    "team": Kind(table=Base.metadata.tables["team"]),
    "player": Kind(table=Base.metadata.tables["player"]),
    "fan": Kind(table=Base.metadata.tables["fan"]),
    "device": Kind(
        table=Base.metadata.tables["device"], hidden=frozenset({"label", "raw", "data"})
    ),
    "pledge": Kind(table=Base.metadata.tables["pledge"]),
}
