"""The sessions, which the application factory binds to a database."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import scoped_session, sessionmaker

sessions = scoped_session(sessionmaker())


def upsert(model: type[Any]) -> Any:
    """INSERT in the dialect that knows ON CONFLICT."""
    made = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
    return made[sessions().get_bind().dialect.name](model)
