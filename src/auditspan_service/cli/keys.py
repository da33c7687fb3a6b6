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


@keys.command()
@json_option
@data_option
def init(*, as_json: bool) -> None:
    """Create the MAC key if it does not exist.

    The key is stored in AUDITSPAN_MAC_KEY_FILE.
    """
    path = load_settings().mac_key_file
    is_new = not path.exists()
    key = load_or_create_mac_key(path, create=True)
    if as_json:
        print_object({"mac_key_file": str(path), "mac_key_id": key.key_id, "created": is_new})
    else:
        done = "was created" if is_new else "already exists"
        click.echo(f"The MAC key {key.key_id} {done} in {path}.")


@keys.command("rotate-mac")
@json_option
@data_option
def rotate_mac(*, as_json: bool) -> None:
    """Add a new MAC key, and keep the old ones.

    The new key becomes the first in AUDITSPAN_MAC_KEY_FILE; the old keys stay for checking. A
    process reads the file when it starts: it writes rows with the first key, and `verify` accepts
    every key in the file. So distribute the new file to all hosts that read it, restart the
    workers, and then restart the services. An interrupted rotation changes nothing.
    """
    path = load_settings().mac_key_file
    new, *before = rotate_mac_key(path)
    if as_json:
        members = {"mac_key_file": str(path), "mac_key_id": new.key_id}
        print_object({**members, "previous": [key.key_id for key in before]})
        return
    kept = ", ".join(key.key_id for key in before)
    click.echo(f"The MAC key {new.key_id} is now the first in {path}; kept for checking: {kept}.")
    click.echo("Restart the workers, then the services: they write rows with it from then on.")


@keys.command()
@click.option("--reason", help="The reason, which is recorded.")
@click.option("--later", is_flag=True, help="Also cover rows that follow a row with a MAC.")
@json_option
@data_option
def cover(*, reason: str | None, later: bool, as_json: bool) -> None:
    """Record that earlier rows have no MAC.

    Covers rows that were sealed before the trail had a MAC key (trail.key_added). From then on
    `verify` accepts them, but no row without a MAC that is sealed later. They are covered as they
    are now: changes made to them before this command cannot be detected. Run it once, after every
    writing process has the key and the worker has sealed their earlier rows.
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
        click.echo("Nothing to cover: every row has a MAC or is already covered.")
    else:
        say(f"{found.rows} rows without a MAC, below sequence number {found.size}, are covered.")
        say(f"Recorded as event {found.event_id}; `auditspan verify` accepts them from now on.")
