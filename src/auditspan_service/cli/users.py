"""`auditspan users`: the same acts as the API's, for whoever has the database."""

from __future__ import annotations

import click

from auditspan_service import users as use_cases
from auditspan_service.api.resources import user_resource
from auditspan_service.cli.console import data_option, json_option, print_object, print_rows, say
from auditspan_service.cli.database import opened_services
from auditspan_service.schemas import NewUser, read

_BATCH = 500


@click.group()
def users() -> None:
    """Users of the service."""


@users.command()
@click.argument("username")
@click.option("--email", help="An address such as kim@example.org.")
@click.option("--full-name", help="As people call the user.")
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
        say(f"User {user['id']} is {user['username']}.")


@users.command("list")
@json_option
@data_option
def list_(*, as_json: bool) -> None:
    """Show all users."""
    rows, after = [], 0
    with opened_services() as services, services.database.reading() as session:
        while found := use_cases.list_users(session, after=after, limit=_BATCH):
            rows += [user_resource(user) for user in found]
            after = found[-1].id
    print_rows(rows, as_json=as_json)
