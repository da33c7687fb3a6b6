"""`auditspan users`: users of the service, managed in the database without the API."""

from __future__ import annotations

import click

from auditspan.cli import data_option
from auditspan.cli.commands import json_option, print_object, print_rows, say
from auditspan_service import users as use_cases
from auditspan_service.api.resources import user_resource
from auditspan_service.cli.database import opened_services
from auditspan_service.schemas import NewUser, read

_BATCH = 500


@click.group()
def users() -> None:
    """Add and list users of the service."""


@users.command()
@click.argument("username")
@click.option("--email", help="The email address, such as kim@example.org.")
@click.option("--full-name", help="The user's full name.")
@json_option
@data_option
def add(
    *,
    username: str,
    email: str | None,
    full_name: str | None,
    as_json: bool,
) -> None:
    """Add a user."""
    new = read(NewUser, {"username": username, "email": email, "full_name": full_name})
    with opened_services() as services, services.database.writing() as session:
        user = user_resource(use_cases.create_user(session, new))
    if as_json:
        print_object(user)
    else:
        say(f"Added user {user['id']}, {user['username']}.")


@users.command("list")
@json_option
@data_option
def list_(*, as_json: bool) -> None:
    """List all users."""
    rows, after = [], 0
    with opened_services() as services, services.database.reading() as session:
        while found := use_cases.list_users(session, after=after, limit=_BATCH):
            rows += [user_resource(user) for user in found]
            after = found[-1].id
    print_rows(rows, as_json=as_json)
