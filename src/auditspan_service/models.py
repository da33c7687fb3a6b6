"""Tables of the service: users, roles and API keys, which are audited, and what requests leave."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    false,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from auditspan import Exempt, Policy, Privacy
from auditspan.storage import UtcDateTime, audit_tables

MAX_ID = 2**63 - 1
"""The largest possible row id in PostgreSQL and SQLite."""

USERNAME_LENGTH = 50
EMAIL_LENGTH = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
FULL_NAME_LENGTH = 200
KEY_NAME_LENGTH = 100
ROLE_NAME_LENGTH = 50
TENANT_LENGTH = 100

# On SQLite only INTEGER PRIMARY KEY AUTOINCREMENT never reuses the id of a deleted row: an old
# audit row must not seem to refer to a new object.
_ID = BigInteger().with_variant(Integer(), "sqlite")
_SQLITE: dict[str, Any] = {"sqlite_autoincrement": True}

RowId = Annotated[int, mapped_column(_ID, Identity(always=True), primary_key=True)]


def utc_now() -> datetime:
    """Return the current time, timezone-aware, with microseconds."""
    return datetime.now(UTC)


def _created_at(context: DefaultExecutionContext) -> datetime:
    """Return `created_at`, so that the first `updated_at` is exactly equal to it."""
    created_at: datetime = context.get_current_parameters()["created_at"]  # type: ignore[no-untyped-call]
    return created_at


class Base(DeclarativeBase):
    """Base class of the service's models, with a naming convention for constraints."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


_Scopes = JSON().with_variant(JSONB(), "postgresql")

user_roles = Table(
    "user_roles",
    Base.metadata,
    Column("user_id", _ID, ForeignKey("users.id"), primary_key=True),
    Column("role_id", _ID, ForeignKey("roles.id"), primary_key=True),
    Index(None, "role_id"),
)
"""The roles of each user."""


class Role(Base):
    """Named set of scopes."""

    __tablename__ = "roles"
    __audit__: ClassVar = Policy(exclude={"version"})
    __table_args__ = (_SQLITE,)

    id: Mapped[RowId]
    name: Mapped[str] = mapped_column(String(ROLE_NAME_LENGTH), unique=True)
    scopes: Mapped[list[str]] = mapped_column(_Scopes)
    """Sorted; replaced as a whole, never changed in place."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)
    version: Mapped[int] = mapped_column(Integer())

    __mapper_args__: Any = {"version_id_col": version}  # noqa: RUF012 (read once, by the mapper)


class User(Base):
    """User of the API, recorded as the actor of its changes."""

    __tablename__ = "users"
    # Every record already has the version in its target, and `updated_at` as its time: in the
    # changes they would only be repeated.
    __audit__: ClassVar = Policy(
        exclude={"updated_at", "version"}, erasable={"username", "email", "full_name"}
    )
    __table_args__ = (
        CheckConstraint(
            f"length(username) BETWEEN 1 AND {USERNAME_LENGTH}", name="username_length"
        ),
        _SQLITE,
    )

    id: Mapped[RowId]
    username: Mapped[str] = mapped_column(String(USERNAME_LENGTH), unique=True)
    email: Mapped[str | None] = mapped_column(String(EMAIL_LENGTH))
    full_name: Mapped[str | None] = mapped_column(String(FULL_NAME_LENGTH))
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(
        UtcDateTime(), default=_created_at, onupdate=utc_now
    )
    version: Mapped[int] = mapped_column(Integer())

    # Deleted one by one and not by the database, so that each has its own audit row.
    keys: Mapped[list[ApiKey]] = relationship(
        back_populates="user", cascade="all, delete-orphan", order_by="ApiKey.id"
    )
    roles: Mapped[list[Role]] = relationship(secondary=user_roles, order_by="Role.name")

    __mapper_args__: Any = {"version_id_col": version}  # noqa: RUF012 (read once, by the mapper)


class ApiKey(Base):
    """API key of a user. Its secret is stored only as a hash."""

    __tablename__ = "api_keys"
    __audit__: ClassVar = Policy(
        exclude={"secret_hash", "version"}, erasable={"name"}, subject=("user", "user_id")
    )
    __table_args__ = (Index(None, "user_id"), _SQLITE)

    id: Mapped[RowId]
    user_id: Mapped[int] = mapped_column(_ID, ForeignKey("users.id"))
    name: Mapped[str | None] = mapped_column(String(KEY_NAME_LENGTH))
    secret_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the secret, hexadecimal. A random 256-bit secret needs no slow hash."""
    scopes: Mapped[list[str]] = mapped_column(_Scopes)
    """Sorted; replaced as a whole, never changed in place."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    version: Mapped[int] = mapped_column(Integer())
    tenant: Mapped[str | None] = mapped_column(String(TENANT_LENGTH))
    """The only tenant whose events the key reads and records; None for all."""
    is_bounded: Mapped[bool] = mapped_column(default=False, server_default=false())
    """True for keys that were created over the API: a scope counts while a role of the user has
    it. An operator's keys (`auditspan keys create`) need no roles."""

    user: Mapped[User] = relationship(back_populates="keys")

    __mapper_args__: Any = {"version_id_col": version}  # noqa: RUF012 (read once, by the mapper)


class KeyUse(Base):
    """Last use of an API key, written at intervals by the processes that serve."""

    __tablename__ = "api_key_uses"
    __audit__: ClassVar = Exempt("derived from requests, and rewritten all the time")

    key_id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=False)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime())


class IdempotencyKey(Base):
    """Claim of an `Idempotency-Key` by the request that has created an object, kept for a day."""

    __tablename__ = "idempotency_keys"
    __audit__: ClassVar = Exempt("names, for a day, a request whose change is audited")
    __table_args__ = (Index(None, "created_at"),)

    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    object_id: Mapped[int | None] = mapped_column(BigInteger())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime())


PRIVACY = Privacy(erasable={"label", "client_address", "user_agent"})
"""Members of every event that are erasable; the subject is the user who acted."""

audit_tables(Base.metadata)  # the metadata is complete once this module is imported
