"""Clients, their tokens and their documents; times have a zone in Python and none in the table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, DateTime, ForeignKey, UniqueConstraint
from sqlalchemy.ext.mutable import MutableDict, MutableList
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """The application's models."""

    __audit__ = True


class Client(Base):
    """A program that uses the API."""

    __tablename__ = "client"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(unique=True)
    api_key: Mapped[str]
    settings: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSON), default=dict)


class Token(Base):
    """An access token that was given out."""

    __tablename__ = "token"

    jti: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id", ondelete="CASCADE"))
    token: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(DateTime())
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime())


class Document(Base):
    """A JSON document under a path."""

    __tablename__ = "document"
    __table_args__ = (UniqueConstraint("client_id", "path"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id", ondelete="CASCADE"))
    path: Mapped[str]
    body: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSON))
    tags: Mapped[list[str]] = mapped_column(MutableList.as_mutable(JSON), default=list)
    created_at: Mapped[datetime] = mapped_column(DateTime(), default=now)
    updated_at: Mapped[datetime | None] = mapped_column(DateTime(), onupdate=now)


class Counter(Base):
    """How often something happened."""

    __tablename__ = "counter"

    name: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int]
