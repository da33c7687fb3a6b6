"""Operations on users: functions from a session to models, independent of HTTP."""

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
"""Check before a user is changed; it raises to prevent the change."""

_USERNAME_TAKEN = ("uq_users_username", "users.username")
"""The constraint's names in PostgreSQL and SQLite."""


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
    """Return the user with this id; `lock` prevents other changes until the transaction ends.

    Raises:
        NotFoundError: the user does not exist.
    """
    is_id = 0 < user_id <= MAX_ID
    user = session.get(User, user_id, with_for_update=lock or None) if is_id else None
    if user is None:
        raise NotFoundError(f"User {user_id} does not exist.")
    return user


def find_user(session: Session, username: str) -> User | None:
    """Return the user with this name, or None."""
    return session.scalars(select(User).where(User.username == username)).one_or_none()


def list_users(session: Session, *, after: int | None, limit: int) -> list[User]:
    """Return at most `limit` users with an id above `after`, in the order of their ids."""
    statement = select(User).order_by(User.id).limit(limit)
    if after is not None:
        statement = statement.where(User.id > after)
    return list(session.scalars(statement))


def change_user(
    session: Session, user_id: int, change: UserChange, precondition: Precondition
) -> User:
    """Change the given members. Nothing is written if no value differs.

    Raises:
        NotFoundError: the user does not exist.
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
    """Delete a user and all of its keys, with one audit row each.

    Raises:
        NotFoundError: the user does not exist.
        StaleError: a key was changed at the same time.
    """
    # Locked first: a key that another transaction adds is either deleted here or refused there.
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
            raise DuplicateError("The username is already taken.") from error
        raise


def _violates(error: IntegrityError, names: tuple[str, ...]) -> bool:
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    # SQLite names the columns: UNIQUE constraint failed: users.username
    column = str(error.orig).rpartition(": ")[2]
    return constraint in names if constraint else column in names
