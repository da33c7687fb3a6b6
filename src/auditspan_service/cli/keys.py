"""`auditspan keys` of the service: also API keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import click

from auditspan.cli import data_option
from auditspan.cli.commands import json_option, keys_of_trail, print_result, print_rows
from auditspan_service.accounts.api_keys import (
    OVERLAP,
    IssuedKey,
    create_key,
    get_key,
    list_keys,
    revoke_key,
    rotate_key,
)
from auditspan_service.accounts.key_uses import last_uses
from auditspan_service.accounts.scopes import SCOPES
from auditspan_service.api.resources import key_resource
from auditspan_service.cli.database import opened_services
from auditspan_service.schemas import NewKey, read


@click.group(commands=keys_of_trail.commands)
def keys() -> None:
    """Manage API keys, and the MAC key and the erasure key of the trail.

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
@click.option("--tenant", help="The only tenant whose events the key reads and records.")
@click.option("--expires-at", metavar="TIME", help="The time from which the key is not valid.")
@json_option
@data_option
def create(
    *,
    username: str,
    scopes: Sequence[str],
    name: str | None,
    tenant: str | None,
    expires_at: str | None,
) -> None:
    """Create an API key and show it once.

    The key permits what its scopes permit, whatever the roles of its user. TIME is in ISO 8601 with
    an offset, such as 2027-01-31T12:00:00Z.
    """
    given = {"scopes": list(scopes), "name": name, "tenant": tenant, "expires_at": expires_at}
    new = read(NewKey, given)
    with opened_services() as services, services.database.writing() as session:
        issued = create_key(
            session,
            username,
            scopes,
            name=new.name,
            tenant=new.tenant,
            expires_at=new.expires_at,
        )
    _show(issued)


@keys.command()
@click.argument("key_id", type=click.IntRange(min=1), metavar="ID")
@click.option(
    "--overlap-hours",
    type=click.FloatRange(min=0),
    default=OVERLAP / timedelta(hours=1),
    show_default=True,
    help="How long the old key stays valid.",
)
@json_option
@data_option
def rotate(*, key_id: int, overlap_hours: float) -> None:
    """Create an API key that replaces another, and show it once.

    Both are valid until the old key expires.
    """
    overlap = timedelta(hours=overlap_hours)
    with opened_services() as services, services.database.writing() as session:
        issued = rotate_key(session, key_id, overlap=overlap)
        old = key_resource(get_key(session, key_id), None)
    _show(issued, [f"Key {key_id} expires at {old['expires_at']}."])


@keys.command("list")
@json_option
@data_option
def list_() -> None:
    """List all API keys, without their secrets.

    The secrets are not stored.
    """
    with opened_services() as services, services.database.reading() as session:
        found = list_keys(session)
        used = last_uses(session, [key.id for key in found])
        rows = [key_resource(key, used.get(key.id)) for key in found]
    print_rows(rows)


@keys.command()
@click.argument("key_id", type=click.IntRange(min=1), metavar="ID")
@json_option
@data_option
def revoke(*, key_id: int) -> None:
    """Revoke an API key, effective within five seconds."""
    with opened_services() as services, services.database.writing() as session:
        row = key_resource(revoke_key(session, key_id), None)
    print_result(row, [f"Key {key_id} of {row['username']} was revoked at {row['revoked_at']}."])


def _show(issued: IssuedKey, more: Iterable[str] = ()) -> None:
    key = issued.key
    username = key.user.username  # in the form in which it is stored
    print_result(
        {"id": key.id, "key": issued.text, "username": username, "scopes": key.scopes},
        [
            issued.text,
            "",
            f"This is key {key.id} of {username}, for {', '.join(key.scopes)}.",
            "It is shown only now and not stored: put it where you keep secrets.",
            *more,
        ],
    )
