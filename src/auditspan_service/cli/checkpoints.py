"""`auditspan checkpoint`: the newest signed statement of what the trail holds."""

from __future__ import annotations

import click
from sqlalchemy import select

from auditspan_service.cli.console import Failure, data_option, json_option, print_object
from auditspan_service.cli.opened import opened_trail
from auditspan_service.config import load_settings
from auditspan_service.keyfile import load_or_create_signing_key


@click.command()
@click.option("--public-key", is_flag=True, help="Print the public key, for those who verify.")
@click.option("--init", is_flag=True, help="Make the signing key unless it is there.")
@json_option
@data_option
def checkpoint(*, public_key: bool, init: bool, as_json: bool) -> None:
    """Print the newest checkpoint, a signed note (C2SP), or the key that verifies it.

    Keep both outside the database: what has been signed cannot be taken back.
    """
    if public_key or init:
        _print_key(as_json=as_json, create=init)
        return
    newest = _newest()
    if as_json:
        print_object(newest)
    elif newest["note"] is None:
        raise Failure("The newest checkpoint is not signed: give the worker a signing key.")
    else:
        click.echo(newest["note"], nl=False)


def _print_key(*, as_json: bool, create: bool) -> None:
    key = load_or_create_signing_key(load_settings().signing_key_file, create=create).public
    if as_json:
        print_object({"name": key.name, "key_id": key.key_id, "public_key": key.vkey})
    else:
        click.echo(key.vkey)


def _newest() -> dict[str, str | int | None]:
    with opened_trail() as (connection, tables):
        table = tables.checkpoint.c
        statement = select(table.tree_size, table.root_hash, table.note)
        row = connection.execute(statement.order_by(table.tree_size.desc()).limit(1)).first()
    if row is None:
        raise Failure("Nothing is sealed yet, so there is no checkpoint.")
    return {"tree_size": row.tree_size, "root": row.root_hash.hex(), "note": row.note}
