"""`auditspan keys`: the MAC key and the erasure key of the trail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from auditspan.cli.commands.console import print_result
from auditspan.cli.commands.target import Target, on_trail
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
@on_trail
def init(target: Target) -> None:
    """Create missing keys: MAC and erasure key.

    They are stored in AUDITSPAN_MAC_KEY_FILE and AUDITSPAN_ERASURE_KEY_FILE.
    """
    path, erasure_path = target.settings.mac_key_file, target.settings.erasure_key_file
    is_new = not path.exists()
    done = [_done(path), _done(erasure_path)]
    key = load_or_create_mac_key(path, create=True)
    erasure_key = load_or_create_erasure_keys(erasure_path, create=True)[0]
    members = {"mac_key_file": str(path), "mac_key_id": key.key_id, "created": is_new}
    names = {"erasure_key_file": str(erasure_path), "erasure_key_id": erasure_key.key_id}
    lines = [
        f"The MAC key {key.key_id} {done[0]}.",
        f"The erasure key {erasure_key.key_id} {done[1]}.",
    ]
    print_result({**members, **names}, lines)


def _done(path: Path) -> str:
    return f"already exists in {path}" if path.exists() else f"was created in {path}"


@keys.command("rotate-mac")
@on_trail
def rotate_mac(target: Target) -> None:
    """Add a new MAC key, and keep the old ones.

    The new key becomes the first in AUDITSPAN_MAC_KEY_FILE; the old keys stay for checking. A
    process reads the file when it starts: it writes rows with the first key, and `verify` accepts
    every key in the file. So distribute the new file to all hosts that read it, restart the
    workers, and then restart the services. An interrupted rotation changes nothing.
    """
    path = target.settings.mac_key_file
    keys = [key.key_id for key in rotate_mac_key(path)]
    advice = "Restart the workers, then the services: they write rows with it from then on."
    _print_rotation("MAC", path, keys, use="checking", advice=advice)


@keys.command("rotate-erasure")
@on_trail
def rotate_erasure(target: Target) -> None:
    """Add a new erasure key, and keep the old ones.

    The new key becomes the first in AUDITSPAN_ERASURE_KEY_FILE. New subjects get their keys under
    it; the old keys stay for reading. Distribute the new file to all hosts that read it, restart
    every process, and then run `keys rewrap`. An interrupted rotation changes nothing.
    """
    path = target.settings.erasure_key_file
    keys = [key.key_id for key in rotate_erasure_key(path)]
    advice = "Restart every process that has the key, then run `keys rewrap` as the owner."
    _print_rotation("erasure", path, keys, use="reading", advice=advice)


def _print_rotation(kind: str, path: Path, keys: Sequence[str], *, use: str, advice: str) -> None:
    """Print the ids of the keys of a file, the new one first, and what is to be done next."""
    new, *previous = keys
    name = f"{kind.lower()}_key"
    kept = f"kept for {use}: {', '.join(previous)}."
    print_result(
        {f"{name}_file": str(path), f"{name}_id": new, "previous": previous},
        [f"The {kind} key {new} is now the first in {path}; {kept}", advice],
    )


@keys.command()
@on_trail
def rewrap(target: Target) -> None:
    """Encrypt subject keys with the newest erasure key.

    Run it as the owner of the tables, after `keys rotate-erasure` and once every process has the
    new key. It can run beside writers, and resumes when it is run again. Events, disclosures and
    proofs do not change. Exits with 1 if the file lacks the erasure key of some subjects.
    """
    keys = load_or_create_erasure_keys(target.settings.erasure_key_file, create=False)
    with target.opened_engine() as engine:
        target.require_schema(engine)
        found = rewrap_subject_keys(engine, target.tables, keys)
    lines = [f"Keys of subjects encrypted with {keys[0].key_id}: {found.rewrapped}."]
    if found.unreadable:
        lines.append(f"Unreadable, because their erasure key is not there: {found.unreadable}.")
    members = {"erasure_key_id": keys[0].key_id, **found.to_dict()}
    print_result(members, lines, ok=not found.unreadable)


@keys.command()
@click.option("--reason", help="The reason, which is recorded.")
@click.option("--later", is_flag=True, help="Also cover rows that follow a row with a MAC.")
@on_trail
def cover(target: Target, *, reason: str | None, later: bool) -> None:
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
    lines = ["Nothing to cover: every row has a MAC or is already covered."]
    if found:
        rows = counted(found.rows, "row")
        lines = [
            f"Covered {rows} without a MAC, below sequence number {found.size}.",
            f"Recorded as event {found.event_id}; `auditspan verify` accepts them from now on.",
        ]
    print_result(found.to_dict() if found else {"rows": 0}, lines)
