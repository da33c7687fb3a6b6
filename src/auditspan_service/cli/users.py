"""`auditspan users`: users of the service, managed in the database without the API."""

from __future__ import annotations

import click
from sqlalchemy.orm import Session

from auditspan.cli import data_option
from auditspan.cli.commands import json_option, print_result, print_rows, say
from auditspan_service.accounts import users as use_cases
from auditspan_service.accounts.roles import assign_role, withdraw_role
from auditspan_service.api.resources import user_resource
from auditspan_service.cli.database import opened_services
from auditspan_service.errors import NotFoundError
from auditspan_service.models import User
from auditspan_service.schemas import NewUser, read

_BATCH = 500


@click.group()
def users() -> None:
    """Add, list and deactivate users of the service, and assign their roles."""


@users.command()
@click.argument("username")
@click.option("--email", help="The email address, such as kim@example.org.")
@click.option("--full-name", help="The user's full name.")
@json_option
@data_option
def add(*, username: str, email: str | None, full_name: str | None) -> None:
    """Add a user."""
    new = read(NewUser, {"username": username, "email": email, "full_name": full_name})
    with opened_services() as services, services.database.writing() as session:
        user = user_resource(use_cases.create_user(session, new))
    print_result(user, [f"Added user {user['id']}, {user['username']}."])


@users.command("list")
@json_option
@data_option
def list_() -> None:
    """List all users."""
    rows, after = [], 0
    with opened_services() as services, services.database.reading() as session:
        while found := use_cases.list_users(session, after=after, limit=_BATCH):
            rows += [user_resource(user) for user in found]
            after = found[-1].id
    print_rows(rows)


@users.command()
@click.argument("username")
@json_option
@data_option
def deactivate(*, username: str) -> None:
    """Deactivate a user.

    Within five seconds, none of its keys is accepted any more.
    """
    _set_active(username, active=False)


@users.command()
@click.argument("username")
@json_option
@data_option
def activate(*, username: str) -> None:
    """Activate a user who was deactivated."""
    _set_active(username, active=True)


@users.command()
@click.argument("username")
@click.argument("role")
@data_option
def assign(*, username: str, role: str) -> None:
    """Give a role to a user, such as admin, auditor or writer."""
    with opened_services() as services, services.database.writing() as session:
        assign_role(session, _find(session, username).id, role)
    say(f"{username} has the role {role}.")


@users.command()
@click.argument("username")
@click.argument("role")
@data_option
def withdraw(*, username: str, role: str) -> None:
    """Take a role from a user."""
    with opened_services() as services, services.database.writing() as session:
        withdraw_role(session, _find(session, username).id, role)
    say(f"{username} does not have the role {role} any more.")


def _set_active(username: str, *, active: bool) -> None:
    with opened_services() as services, services.database.writing() as session:
        user = _find(session, username)
        user.active = active
        session.flush()
        shown = user_resource(user)
    print_result(shown, [f"{username} is {'active' if active else 'not active any more'}."])


def _find(session: Session, username: str) -> User:
    user = use_cases.find_user(session, username)
    if user is None:
        raise NotFoundError(f"No user is named {username}.")
    return user
