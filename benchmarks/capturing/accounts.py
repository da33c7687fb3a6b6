"""The model that is written: an ordinary table of seven columns, the same for every subject."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TABLE = "account"


def make_base() -> type[DeclarativeBase]:
    """A declarative base with a metadata of its own."""

    class Base(DeclarativeBase):
        pass

    return Base


def account_model(base: type[DeclarativeBase], marks: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The model, with the class attributes by which a library knows what to capture."""

    class Columns:
        id: Mapped[int] = mapped_column(primary_key=True)
        owner: Mapped[str] = mapped_column(String(80))
        email: Mapped[str] = mapped_column(String(120))
        note: Mapped[str] = mapped_column(Text)
        balance: Mapped[int]
        active: Mapped[bool]
        opened_at: Mapped[datetime]

    return type("Account", (Columns, base), {"__tablename__": TABLE, **marks})


def values_of(number: int) -> dict[str, Any]:
    """The columns of one account."""
    return {
        "owner": f"Owner number {number}",
        "email": f"owner-{number}@example.org",
        "note": "Opened at the counter; statements by post, once a quarter.",
        "balance": number,
        "active": True,
        "opened_at": datetime(2026, 1, 1, 12, 30),  # noqa: DTZ001 (a column without zone)
    }


MANY = """
INSERT INTO account (owner, email, note, balance, active, opened_at)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {size})
SELECT 'Owner number ' || n, 'owner-' || n || '@example.org',
       'Opened at the counter; statements by post, once a quarter.',
       n, true, '2026-01-01 12:30:00.000000'{cast} FROM numbers
"""
"""Accounts made by the database alone, so that they take no memory here."""
