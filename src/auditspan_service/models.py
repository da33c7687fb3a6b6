"""Tables of the service: users and their API keys. Both are audited."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from auditspan import Policy
from auditspan.storage import UtcDateTime, audit_tables

MAX_ID = 2**63 - 1
"""The largest possible row id in PostgreSQL and SQLite."""

USERNAME_LENGTH = 50
EMAIL_LENGTH = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
FULL_NAME_LENGTH = 200
KEY_NAME_LENGTH = 100

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


class User(Base):
    """User of the API, recorded as the actor of its changes."""

    __tablename__ = "users"
    # Every record already has the version in its target, and `updated_at` as its time: in the
    # changes they would only be repeated.
    __audit__: ClassVar = Policy(exclude={"updated_at", "version"})
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

    __mapper_args__: Any = {"version_id_col": version}  # noqa: RUF012 (read once, by the mapper)


class ApiKey(Base):
    """API key of a user. Its secret is stored only as a hash."""

    __tablename__ = "api_keys"
    __audit__: ClassVar = Policy(exclude={"secret_hash", "version"})
    __table_args__ = (Index(None, "user_id"), _SQLITE)

    id: Mapped[RowId]
    user_id: Mapped[int] = mapped_column(_ID, ForeignKey("users.id"))
    name: Mapped[str | None] = mapped_column(String(KEY_NAME_LENGTH))
    secret_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the secret, hexadecimal. A random 256-bit secret needs no slow hash."""
    scopes: Mapped[list[str]] = mapped_column(JSON().with_variant(JSONB(), "postgresql"))
    """Sorted; replaced as a whole, never changed in place."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    version: Mapped[int] = mapped_column(Integer())

    user: Mapped[User] = relationship(back_populates="keys")

    __mapper_args__: Any = {"version_id_col": version}  # noqa: RUF012 (read once, by the mapper)


audit_tables(Base.metadata)  # the metadata is complete once this module is imported
