"""`auditspan keys`: the MAC key and the erasure key of the trail."""

from __future__ import annotations

import click

from auditspan.cli.commands.console import FOUND, json_option, print_object, say
from auditspan.cli.commands.target import Target, pass_target
from auditspan.cli.group import data_option
from auditspan.format import counted
from auditspan.storage.keys import (
    load_or_create_erasure_keys,
    load_or_create_mac_key,
    rotate_erasure_key,
    rotate_mac_key,
)
from auditspan.trail.erasure import rewrap_subject_keys


@click.group()
def keys() -> None:
    """Manage the MAC key and the erasure key of the trail.

    For signing keys, see `auditspan checkpoint`.
    """


@keys.command()
@json_option
@data_option
@pass_target
def init(target: Target, *, as_json: bool) -> None:
    """Create the MAC key and the erasure key if they do not exist.

    They are stored in AUDITSPAN_MAC_KEY_FILE and AUDITSPAN_ERASURE_KEY_FILE.
    """
    path, erasure_path = target.settings.mac_key_file, target.settings.erasure_key_file
    is_new, is_new_too = not path.exists(), not erasure_path.exists()
    key = load_or_create_mac_key(path, create=True)
    erasure_key = load_or_create_erasure_keys(erasure_path, create=True)[0]
    if as_json:
        members = {"mac_key_file": str(path), "mac_key_id": key.key_id, "created": is_new}
        names = {"erasure_key_file": str(erasure_path), "erasure_key_id": erasure_key.key_id}
        print_object({**members, **names})
        return
    for name, one, file, created in (
        ("MAC", key.key_id, path, is_new),
        ("erasure", erasure_key.key_id, erasure_path, is_new_too),
    ):
        done = "was created" if created else "already exists"
        click.echo(f"The {name} key {one} {done} in {file}.")


@keys.command("rotate-mac")
@json_option
@data_option
@pass_target
def rotate_mac(target: Target, *, as_json: bool) -> None:
    """Add a new MAC key, and keep the old ones.

    The new key becomes the first in AUDITSPAN_MAC_KEY_FILE; the old keys stay for checking. A
    process reads the file when it starts: it writes rows with the first key, and `verify` accepts
    every key in the file. So distribute the new file to all hosts that read it, restart the
    workers, and then restart the services. An interrupted rotation changes nothing.
    """
    path = target.settings.mac_key_file
    new, *before = rotate_mac_key(path)
    if as_json:
        members = {"mac_key_file": str(path), "mac_key_id": new.key_id}
        print_object({**members, "previous": [key.key_id for key in before]})
        return
    kept = ", ".join(key.key_id for key in before)
    click.echo(f"The MAC key {new.key_id} is now the first in {path}; kept for checking: {kept}.")
    click.echo("Restart the workers, then the services: they write rows with it from then on.")


@keys.command("rotate-erasure")
@json_option
@data_option
@pass_target
def rotate_erasure(target: Target, *, as_json: bool) -> None:
    """Add a new erasure key, and keep the old ones.

    The new key becomes the first in AUDITSPAN_ERASURE_KEY_FILE. New subjects get their keys under
    it; the old keys stay for reading. Distribute the new file to all hosts that read it, restart
    every process, and then run `keys rewrap`. An interrupted rotation changes nothing.
    """
    path = target.settings.erasure_key_file
    new, *before = rotate_erasure_key(path)
    if as_json:
        members = {"erasure_key_file": str(path), "erasure_key_id": new.key_id}
        print_object({**members, "previous": [key.key_id for key in before]})
        return
    kept = ", ".join(key.key_id for key in before)
    click.echo(
        f"The erasure key {new.key_id} is now the first in {path}; kept for reading: {kept}."
    )
    click.echo("Restart every process that has the key, then run `keys rewrap` as the owner.")


@keys.command()
@json_option
@data_option
@pass_target
def rewrap(target: Target, *, as_json: bool) -> None:
    """Encrypt the keys of all subjects with the newest erasure key.

    Run it as the owner of the tables, after `keys rotate-erasure` and once every process has the
    new key. It can run beside writers, and resumes when it is run again. Events, disclosures and
    proofs do not change. Exits with 1 if the file lacks the erasure key of some subjects.
    """
    keys = load_or_create_erasure_keys(target.settings.erasure_key_file, create=False)
    with target.opened_engine() as engine:
        target.require_schema(engine)
        found = rewrap_subject_keys(engine, target.tables, keys)
    if as_json:
        print_object({"erasure_key_id": keys[0].key_id, **found.to_dict()})
    else:
        click.echo(f"Keys of subjects encrypted with {keys[0].key_id}: {found.rewrapped}.")
        if found.unreadable:
            click.echo(f"Unreadable, because their erasure key is not there: {found.unreadable}.")
    if found.unreadable:
        raise SystemExit(FOUND)


@keys.command()
@click.option("--reason", help="The reason, which is recorded.")
@click.option("--later", is_flag=True, help="Also cover rows that follow a row with a MAC.")
@json_option
@data_option
@pass_target
def cover(target: Target, *, reason: str | None, later: bool, as_json: bool) -> None:
    """Record that earlier rows have no MAC.

    Covers rows that were sealed before the trail had a MAC key (trail.key_added). From then on
    `verify` accepts them, but no row without a MAC that is sealed later. They are covered as they
    are now: changes made to them before this command cannot be detected. Run it once, after every
    writing process has the key and the worker has sealed their earlier rows.
    """
    with target.writing() as (trail, session):
        found = trail.cover_rows_without_mac(
            session, reason=reason, later=later, earlier_keys=target.mac_keys()[1:]
        )
    if as_json:
        print_object(found.to_dict() if found else {"rows": 0})
    elif found is None:
        click.echo("Nothing to cover: every row has a MAC or is already covered.")
    else:
        rows = counted(found.rows, "row")
        say(f"Covered {rows} without a MAC, below sequence number {found.size}.")
        say(f"Recorded as event {found.event_id}; `auditspan verify` accepts them from now on.")
