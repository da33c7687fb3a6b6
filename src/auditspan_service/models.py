"""The tables of the service: users and the keys with which they call the API. Both are audited."""

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
"""The largest id that a row can have on PostgreSQL and on SQLite."""

USERNAME_LENGTH = 50
EMAIL_LENGTH = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
FULL_NAME_LENGTH = 200
KEY_NAME_LENGTH = 100

# On SQLite only INTEGER PRIMARY KEY AUTOINCREMENT never gives an id again that was deleted: an old
# audit row must not seem to speak of a new thing.
_ID = BigInteger().with_variant(Integer(), "sqlite")
_SQLITE: dict[str, Any] = {"sqlite_autoincrement": True}

RowId = Annotated[int, mapped_column(_ID, Identity(always=True), primary_key=True)]


def utc_now() -> datetime:
    """The clock of the service, aware, with microseconds."""
    return datetime.now(UTC)


def _created_at(context: DefaultExecutionContext) -> datetime:
    """The first `updated_at` is `created_at`, not some microseconds later."""
    created_at: datetime = context.get_current_parameters()["created_at"]  # type: ignore[no-untyped-call]
    return created_at


class Base(DeclarativeBase):
    """Every table of the service, the audit tables included, under named constraints."""

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
    """Somebody who may call the API, and on whose behalf the trail speaks."""

    __tablename__ = "users"
    # The version stands in the target of every record, and `updated_at` is when it occurred: as
    # changes they would only repeat that in every diff.
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

    # Deleted one by one and not by the database, so that each leaves its own audit row.
    keys: Mapped[list[ApiKey]] = relationship(
        back_populates="user", cascade="all, delete-orphan", order_by="ApiKey.id"
    )

    __mapper_args__: Any = {"version_id_col": version}  # noqa: RUF012 (read once, by the mapper)


class ApiKey(Base):
    """A key of a user. Of its secret only a hash is kept."""

    __tablename__ = "api_keys"
    __audit__: ClassVar = Policy(exclude={"secret_hash", "version"})
    __table_args__ = (Index(None, "user_id"), _SQLITE)

    id: Mapped[RowId]
    user_id: Mapped[int] = mapped_column(_ID, ForeignKey("users.id"))
    name: Mapped[str | None] = mapped_column(String(KEY_NAME_LENGTH))
    secret_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the secret, hexadecimal. A secret of 256 random bits needs no slow hash."""
    scopes: Mapped[list[str]] = mapped_column(JSON().with_variant(JSONB(), "postgresql"))
    """Sorted; replaced as a whole, never changed in place."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    version: Mapped[int] = mapped_column(Integer())

    user: Mapped[User] = relationship(back_populates="keys")

    __mapper_args__: Any = {"version_id_col": version}  # noqa: RUF012 (read once, by the mapper)


audit_tables(Base.metadata)  # the metadata is complete as soon as it can be imported
