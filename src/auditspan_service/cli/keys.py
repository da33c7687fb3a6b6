"""`auditspan keys`: API keys, and the MAC key of the trail."""

from __future__ import annotations

from collections.abc import Sequence

import click

from auditspan_service.api.resources import key_resource
from auditspan_service.api_keys import SCOPES, create_key, list_keys, revoke_key
from auditspan_service.cli.console import data_option, json_option, print_object, print_rows, say
from auditspan_service.cli.database import opened_services
from auditspan_service.config import load_settings
from auditspan_service.files.key_files import load_or_create_mac_key, rotate_mac_key


@click.group()
def keys() -> None:
    """Keys with which programs and people call the API, and the MAC key of the trail.

    The keys that sign are those of `auditspan checkpoint`.
    """


@keys.command()
@click.option("--username", required=True, help="Whose key; the user is made when missing.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="What it may do; repeatable.",
)
@click.option("--name", help="What the key is for.")
@json_option
@data_option
def create(
    *,
    username: str,
    scopes: Sequence[str],
    name: str | None,
    as_json: bool,
) -> None:
    """Make a key and show it, this once."""
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
    click.echo("It is shown this once and kept nowhere: store it where secrets are stored.")


@keys.command("list")
@json_option
@data_option
def list_(*, as_json: bool) -> None:
    """Show all keys; not their secrets, which nobody has."""
    with opened_services() as services, services.database.reading() as session:
        rows = [key_resource(key) for key in list_keys(session)]
    print_rows(rows, as_json=as_json)


@keys.command()
@click.argument("key_id", type=click.IntRange(min=1), metavar="ID")
@json_option
@data_option
def revoke(*, key_id: int, as_json: bool) -> None:
    """Make a key useless from now on."""
    with opened_services() as services, services.database.writing() as session:
        row = key_resource(revoke_key(session, key_id))
    if as_json:
        print_object(row)
    else:
        say(f"Key {key_id} of {row['username']} opens nothing since {row['revoked_at']}.")


@keys.command()
@json_option
@data_option
def init(*, as_json: bool) -> None:
    """Make the MAC key of the trail (AUDITSPAN_MAC_KEY_FILE) unless it is there."""
    path = load_settings().mac_key_file
    is_new = not path.exists()
    key = load_or_create_mac_key(path, create=True)
    if as_json:
        print_object({"mac_key_file": str(path), "mac_key_id": key.key_id, "created": is_new})
    else:
        click.echo(f"The MAC key {key.key_id} {'was made' if is_new else 'is'} in {path}.")


@keys.command("rotate-mac")
@json_option
@data_option
def rotate_mac(*, as_json: bool) -> None:
    """Put a new MAC key first in AUDITSPAN_MAC_KEY_FILE; those before it stay, for checking.

    Nothing changes until a process reads the file, at its start: rows are written under the key
    that was first then, and `verify` takes any in the file. So give the new file to all who read
    it, then restart the workers, and the services last. Stopped in the middle, it changes nothing.
    """
    path = load_settings().mac_key_file
    new, *before = rotate_mac_key(path)
    if as_json:
        members = {"mac_key_file": str(path), "mac_key_id": new.key_id}
        print_object({**members, "previous": [key.key_id for key in before]})
        return
    kept = ", ".join(key.key_id for key in before)
    click.echo(f"The MAC key {new.key_id} is the first in {path}; still good for checking: {kept}.")
    click.echo("Restart the workers, then the services: from then on rows are written under it.")


@keys.command()
@click.option("--reason", help="Why, for the trail.")
@click.option("--later", is_flag=True, help="Cover rows that follow a row with a MAC, too.")
@json_option
@data_option
def cover(*, reason: str | None, later: bool, as_json: bool) -> None:
    """Record that the rows sealed before the trail had a MAC key have no MAC (trail.key_added).

    `verify` accepts them from then on, and no row without a MAC that is sealed later. They count as
    they are now: changes before this command cannot be found. Run it once, when every process that
    writes has the key and the worker has sealed what they wrote before.
    """
    with opened_services() as services, services.database.writing() as session:
        found = services.trail.cover_rows_without_mac(
            session,
            reason=reason,
            later=later,
            earlier_keys=services.mac_keys[1:],
        )
    if as_json:
        print_object(found.to_dict() if found else {"rows": 0})
    elif found is None:
        click.echo("No row is left to cover: each has a MAC, or is covered already.")
    else:
        say(f"{found.rows} rows without a MAC, below sequence number {found.size}, are covered.")
        say(f"The event {found.event_id} records it; `auditspan verify` accepts them from now on.")
