"""What can be done with users: a session goes in, a model comes out. No HTTP."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from auditspan_service.errors import DuplicateError, NotFoundError, StaleError
from auditspan_service.models import MAX_ID, User
from auditspan_service.schemas import NewUser, UserChange

Precondition = Callable[[User], None]
"""Asked before a user is changed; it raises where the change must not happen."""

_USERNAME_TAKEN = ("uq_users_username", "users.username")
"""How PostgreSQL and SQLite name the constraint."""


def create_user(session: Session, new: NewUser) -> User:
    """Add a user.

    Raises:
        DuplicateError: the username is taken.
    """
    user = User(**new.model_dump())
    session.add(user)
    _flush(session)
    return user


def get_user(session: Session, user_id: int, *, lock: bool = False) -> User:
    """The user of this id; with `lock`, nobody else can change it until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    is_id = 0 < user_id <= MAX_ID
    user = session.get(User, user_id, with_for_update=lock or None) if is_id else None
    if user is None:
        raise NotFoundError(f"There is no user {user_id}.")
    return user


def find_user(session: Session, username: str) -> User | None:
    """The user of this name, or None."""
    return session.scalars(select(User).where(User.username == username)).one_or_none()


def list_users(session: Session, *, after: int | None, limit: int) -> list[User]:
    """Users in the order of their ids, those after `after`, `limit` at most."""
    statement = select(User).order_by(User.id).limit(limit)
    if after is not None:
        statement = statement.where(User.id > after)
    return list(session.scalars(statement))


def change_user(
    session: Session, user_id: int, change: UserChange, precondition: Precondition
) -> User:
    """Change the members that are given. Where nothing differs nothing is written.

    Raises:
        NotFoundError: there is no such user.
        DuplicateError: the new username is taken.
        StaleError: another transaction changed the user after this one had read it.
    """
    user = get_user(session, user_id)
    precondition(user)
    for member, value in change.given().items():
        setattr(user, member, value)
    _flush(session)
    return user


def delete_user(session: Session, user_id: int, precondition: Precondition) -> None:
    """Delete a user with all keys; each leaves its own audit row.

    Raises:
        NotFoundError: there is no such user.
        StaleError: a key was changed at the same moment.
    """
    # Locked first: a key that another transaction is adding is either seen here, or refused there.
    user = get_user(session, user_id, lock=True)
    precondition(user)
    session.delete(user)
    _flush(session)


def _flush(session: Session) -> None:
    try:
        session.flush()
    except StaleDataError as error:
        raise StaleError from error
    except IntegrityError as error:
        if _violates(error, _USERNAME_TAKEN):
            raise DuplicateError("Another user has this username.") from error
        raise


def _violates(error: IntegrityError, names: tuple[str, ...]) -> bool:
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    # SQLite says which columns: UNIQUE constraint failed: users.username
    column = str(error.orig).rpartition(": ")[2]
    return constraint in names if constraint else column in names
