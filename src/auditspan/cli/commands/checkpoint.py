"""`auditspan checkpoint`: the newest signed checkpoint and the keys that verify it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select

from auditspan.cli.commands.console import Failure, print_result
from auditspan.cli.commands.target import Target, on_trail
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
@on_trail
def checkpoint(target: Target, *, public_key: bool, init: bool, rotate: bool) -> None:
    """Print the newest checkpoint or the public keys.

    A checkpoint is a signed note (C2SP), and the public keys verify it. Keep both outside the
    database: a signed checkpoint cannot be retracted.
    """
    if public_key or init or rotate:
        _print_keys(target.settings.signing_key_file, create=init, rotate=rotate)
    else:
        newest = _newest(target)
        print_result(newest, _note(newest))


def _note(newest: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the signed note."""
    if newest["note"] is None:
        raise Failure(
            "The newest checkpoint is not signed: configure a signing key for the worker."
        )
    yield from newest["note"].removesuffix("\n").split("\n")


def _print_keys(path: Path, *, create: bool, rotate: bool) -> None:
    if rotate:
        signers = rotate_signing_key(path)
        click.echo("Restart the workers; both keys sign from then on. Keep every line.", err=True)
    else:
        signers = load_or_create_signing_keys(path, create=create)
    keys = [*(signer.public for signer in signers), *load_retired_keys(path)]
    newest = {"name": keys[0].name, "key_id": keys[0].key_id, "public_key": keys[0].vkey}
    texts = [key.vkey for key in keys]
    print_result({**newest, "public_keys": texts}, texts)


def _newest(target: Target) -> dict[str, Any]:
    with target.reading() as (connection, tables):
        table = tables.checkpoint.c
        statement = select(table.tree_size, table.root_hash, table.note)
        row = connection.execute(statement.order_by(table.tree_size.desc()).limit(1)).first()
    if row is None:
        raise Failure("There is no checkpoint yet: nothing has been sealed.")
    return {"tree_size": row.tree_size, "root": row.root_hash.hex(), "note": row.note}
