"""`auditspan checkpoint`: the newest signed checkpoint and the keys that verify it."""

from __future__ import annotations

from pathlib import Path

import click
from sqlalchemy import select

from auditspan.cli.commands.console import (
    Failure,
    json_option,
    print_object,
    say_lines,
)
from auditspan.cli.commands.target import Target, pass_target
from auditspan.cli.group import data_option
from auditspan.storage.keys import (
    load_or_create_signing_keys,
    load_retired_keys,
    rotate_signing_key,
)


@click.command()
@click.option("--public-key", is_flag=True, help="Print the public keys for verification.")
@click.option("--init", is_flag=True, help="Create the signing key if it does not exist.")
@click.option(
    "--rotate", is_flag=True, help="Create a new signing key; the previous one keeps signing, too."
)
@json_option
@data_option
@pass_target
def checkpoint(
    target: Target, *, public_key: bool, init: bool, rotate: bool, as_json: bool
) -> None:
    """Print the newest checkpoint or the public keys.

    A checkpoint is a signed note (C2SP), and the public keys verify it. Keep both outside the
    database: a signed checkpoint cannot be retracted.
    """
    if public_key or init or rotate:
        _print_keys(target.settings.signing_key_file, as_json=as_json, create=init, rotate=rotate)
        return
    newest = _newest(target)
    if as_json:
        print_object(newest)
    elif newest["note"] is None:
        raise Failure(
            "The newest checkpoint is not signed: configure a signing key for the worker."
        )
    else:
        say_lines(str(newest["note"]).removesuffix("\n"))


def _print_keys(path: Path, *, as_json: bool, create: bool, rotate: bool) -> None:
    if rotate:
        signers = rotate_signing_key(path)
        click.echo("Restart the workers; both keys sign from then on. Keep every line.", err=True)
    else:
        signers = load_or_create_signing_keys(path, create=create)
    keys = [*(signer.public for signer in signers), *load_retired_keys(path)]
    if as_json:
        newest = {"name": keys[0].name, "key_id": keys[0].key_id, "public_key": keys[0].vkey}
        print_object({**newest, "public_keys": [key.vkey for key in keys]})
        return
    for key in keys:
        click.echo(key.vkey)


def _newest(target: Target) -> dict[str, str | int | None]:
    with target.reading() as (connection, tables):
        table = tables.checkpoint.c
        statement = select(table.tree_size, table.root_hash, table.note)
        row = connection.execute(statement.order_by(table.tree_size.desc()).limit(1)).first()
    if row is None:
        raise Failure("There is no checkpoint yet: nothing has been sealed.")
    return {"tree_size": row.tree_size, "root": row.root_hash.hex(), "note": row.note}
