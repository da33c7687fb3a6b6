"""`auditspan checkpoint`: the newest signed checkpoint and the keys that verify it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from auditspan.cli.commands.console import Failure, print_result
from auditspan.cli.commands.target import Target, on_trail
from auditspan.storage import latest_checkpoint
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
        _print_newest(target)


def _print_newest(target: Target) -> None:
    with target.reading() as (connection, tables):
        newest = latest_checkpoint(connection, tables)
    if newest is None:
        raise Failure("There is no checkpoint yet: nothing has been sealed.")
    members = {"tree_size": newest.size, "root": newest.root.hex(), "note": newest.note}
    print_result(members, _lines(newest.note))


def _lines(note: str | None) -> Iterator[str]:
    """Yield the lines of the signed note."""
    if note is None:
        raise Failure(
            "The newest checkpoint is not signed: configure a signing key for the worker."
        )
    yield from note.removesuffix("\n").split("\n")


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
