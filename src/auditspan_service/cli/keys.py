"""`auditspan keys` of the service: also API keys."""

from __future__ import annotations

from collections.abc import Sequence

import click

from auditspan.cli import data_option
from auditspan.cli.commands import json_option, print_object, print_rows, say
from auditspan.cli.commands import keys as keys_of_trail
from auditspan_service.api.resources import key_resource
from auditspan_service.api_keys import SCOPES, create_key, list_keys, revoke_key
from auditspan_service.cli.database import opened_services


@click.group(commands=keys_of_trail.commands)
def keys() -> None:
    """Manage API keys and the MAC key of the trail.

    For signing keys, see `auditspan checkpoint`.
    """


@keys.command()
@click.option("--username", required=True, help="The key's user; created if missing.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="A scope that the key grants; may be repeated.",
)
@click.option("--name", help="A name that tells what the key is for.")
@json_option
@data_option
def create(
    *,
    username: str,
    scopes: Sequence[str],
    name: str | None,
    as_json: bool,
) -> None:
    """Create an API key and show it once."""
    with opened_services() as services, services.database.writing() as session:
        issued = create_key(session, username, scopes, name=name)
        key = issued.key
        username = key.user.username  # in the form in which it is stored
        made = {"id": key.id, "key": issued.text, "username": username, "scopes": key.scopes}
    if as_json:
        print_object(made)
        return
    click.echo(f"{issued.text}\n")
    say(f"This is key {key.id} of {username}, for {', '.join(key.scopes)}.")
    click.echo("It is shown only now and not stored: put it where you keep secrets.")


@keys.command("list")
@json_option
@data_option
def list_(*, as_json: bool) -> None:
    """List all API keys, without their secrets.

    The secrets are not stored.
    """
    with opened_services() as services, services.database.reading() as session:
        rows = [key_resource(key) for key in list_keys(session)]
    print_rows(rows, as_json=as_json)


@keys.command()
@click.argument("key_id", type=click.IntRange(min=1), metavar="ID")
@json_option
@data_option
def revoke(*, key_id: int, as_json: bool) -> None:
    """Revoke an API key, effective immediately."""
    with opened_services() as services, services.database.writing() as session:
        row = key_resource(revoke_key(session, key_id))
    if as_json:
        print_object(row)
    else:
        say(f"Key {key_id} of {row['username']} was revoked at {row['revoked_at']}.")
