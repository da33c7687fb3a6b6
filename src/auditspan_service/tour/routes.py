"""Routes that only the tour's service has: writes that no request to the API makes."""

from __future__ import annotations

from flask import Flask
from flask.typing import ResponseReturnValue
from sqlalchemy import delete, insert, text
from sqlalchemy.orm import Session

from auditspan_service.api.auth import requires
from auditspan_service.api.current import services
from auditspan_service.models import User

PREFIX = "/v1/tour"
FAILING_ROUTE = f"{PREFIX}/fails-after-flush"
BULK_ROUTE = f"{PREFIX}/bulk/"
_IN_BULK = 3
_RAW_SQL = text("UPDATE users SET full_name = 'Raw SQL' WHERE username LIKE :pattern")


def add_routes(app: Flask) -> None:
    """Add the routes; each requires the scope `users:write`, like changes through the API."""
    app.post(FAILING_ROUTE)(fails_after_flush)
    app.post(f"{BULK_ROUTE}<name>")(adds_in_bulk)
    app.patch(f"{BULK_ROUTE}<name>")(changes_by_raw_sql)
    app.put(f"{BULK_ROUTE}<name>")(rolls_back_a_savepoint)
    app.delete(f"{BULK_ROUTE}<name>")(deletes_in_bulk)


@requires("users:write")
def fails_after_flush() -> ResponseReturnValue:
    """Fail between the flush and the commit."""
    with services().database.writing() as session:
        session.add(User(username="never-committed"))
        session.flush()
        raise RuntimeError("the tour fails this request after its flush")


@requires("users:write")
def adds_in_bulk(name: str) -> ResponseReturnValue:
    """Add users by one INSERT statement, without an object."""
    rows = [{"username": f"{name}-{number}"} for number in range(_IN_BULK)]
    with services().database.writing() as session:
        session.execute(insert(User), rows)
    return {}, 201


@requires("users:write")
def changes_by_raw_sql(name: str) -> ResponseReturnValue:
    """Change these users by SQL text."""
    with services().database.writing() as session:
        session.execute(_RAW_SQL, {"pattern": f"{name}-_"})
    return {}


@requires("users:write")
def rolls_back_a_savepoint(name: str) -> ResponseReturnValue:
    """Change one user, and add another in a savepoint that is rolled back."""
    with services().database.writing() as session:
        user = session.query(User).filter_by(username=f"{name}-0").one()
        user.full_name = "Kept"
        session.flush()
        _try_in_vain(session)
    return {}


@requires("users:write")
def deletes_in_bulk(name: str) -> ResponseReturnValue:
    """Delete these users by one statement."""
    with services().database.writing() as session:
        session.execute(delete(User).where(User.username.like(f"{name}-_")))
    return {}


def _try_in_vain(session: Session) -> None:
    savepoint = session.begin_nested()
    session.add(User(username="rolled-back"))
    session.flush()
    savepoint.rollback()
