"""Operations on roles and on the roles of users, independent of HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from auditspan_service.accounts.api_keys import held_scopes
from auditspan_service.accounts.scopes import ROLES, checked_scopes, require_separate
from auditspan_service.accounts.users import get_user
from auditspan_service.errors import (
    FieldError,
    InUseError,
    InvalidInputError,
    NotFoundError,
    StaleError,
)
from auditspan_service.models import Role, User


def list_roles(session: Session) -> dict[str, list[str]]:
    """Return the scopes of every role by its name, in the order of the names."""
    stored = {role.name: role.scopes for role in session.scalars(select(Role))}
    fixed = {name: list(scopes) for name, scopes in ROLES.items()}
    return dict(sorted({**stored, **fixed}.items()))


def put_role(session: Session, name: str, scopes: Iterable[str]) -> Role:
    """Create a role, or replace the scopes of one, which counts for its users at once.

    Raises:
        InvalidInputError: a scope is unknown, or the role is one that always exists.
        StaleError: the role was changed at the same time.
    """
    _require_custom(name)
    wanted = checked_scopes(scopes)
    known = _find(session, name)
    if known is not None:
        _require_separate_users(session, known, wanted)
    role = known or Role(name=name)
    role.scopes = wanted
    session.add(role)
    _flush(session)
    return role


def delete_role(session: Session, name: str) -> None:
    """Delete a role that no user has.

    Raises:
        NotFoundError: the role does not exist.
        InUseError: a user has it.
        InvalidInputError: the role is one that always exists.
    """
    _require_custom(name)
    role = _find(session, name)
    if role is None:
        raise NotFoundError("No role has this name.")
    if session.scalars(select(User.id).where(User.roles.contains(role)).limit(1)).first():
        raise InUseError("A user has this role: withdraw it first.")
    session.delete(role)
    _flush(session)


def assign_role(session: Session, user_id: int, name: str) -> None:
    """Give a role to a user, who may have it already.

    Raises:
        InvalidInputError: with their other roles, the user could both write and purge.
        NotFoundError: the user or the role does not exist.
        StaleError: the roles were changed at the same time.
    """
    user = get_user(session, user_id, lock=True)
    role = _find(session, name)
    if role is None and name in ROLES:
        role = Role(name=name, scopes=sorted(ROLES[name]))
        session.add(role)
    if role is None:
        raise NotFoundError("No role has this name.")
    if role not in user.roles:
        require_separate({*held_scopes(user), *role.scopes}, field="role")
        user.roles.append(role)
    _flush(session)


def withdraw_role(session: Session, user_id: int, name: str) -> None:
    """Take a role from a user.

    Raises:
        NotFoundError: the user does not exist, or does not have the role.
    """
    user = get_user(session, user_id, lock=True)
    held = [role for role in user.roles if role.name == name]
    if not held:
        raise NotFoundError("The user does not have this role.")
    user.roles.remove(held[0])
    _flush(session)


def _require_separate_users(session: Session, role: Role, scopes: Iterable[str]) -> None:
    """Refuse scopes with which a user of the role could both write and purge."""
    for user in session.scalars(select(User).where(User.roles.contains(role))):
        require_separate({*held_scopes(user, besides=role), *scopes}, field="scopes")


def _find(session: Session, name: str) -> Role | None:
    return session.scalars(select(Role).where(Role.name == name)).one_or_none()


def _require_custom(name: str) -> None:
    if name in ROLES:
        message = f"the role {name} always exists and cannot be changed or deleted"
        raise InvalidInputError([FieldError(field="", message=message)])


def _flush(session: Session) -> None:
    try:
        session.flush()
    except (IntegrityError, StaleDataError) as error:
        raise StaleError from error
