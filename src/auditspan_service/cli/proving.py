"""`auditspan verify` and `auditspan reconcile`: is the trail whole, and is it delivered?"""

from __future__ import annotations

from pathlib import Path

import click

from auditspan import MacKey
from auditspan.note import NoteError, PublicKey
from auditspan.reconcile import ReconcileReport
from auditspan.reconcile import reconcile as compare
from auditspan.verification import VerifyReport, verify_trail
from auditspan_service.cli.console import FOUND, Failure, data_option, json_option, print_object
from auditspan_service.cli.opened import opened_trail
from auditspan_service.config import Settings, load_settings
from auditspan_service.errors import KeyFileError
from auditspan_service.keyfile import load_or_create_mac_key, load_or_create_signing_key

_SHOWN = 20


@click.command()
@click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    metavar="KEY",
    help="A key that signs checkpoints, as `auditspan checkpoint --public-key` prints it; may be "
    "repeated.  [default: that of AUDITSPAN_SIGNING_KEY_FILE]",
)
@json_option
@data_option
def verify(*, public_keys: tuple[str, ...], as_json: bool) -> None:
    """Check that every sealed row is as it was written.

    Sequence, canonical body, plain columns, MAC, leaf hash, and root and signature of every
    checkpoint. Exit code 1 when something is wrong, and when there is nothing to check.
    """
    settings = load_settings()
    keys = _public_keys(settings, public_keys)
    with opened_trail() as (connection, tables):
        report = verify_trail(connection, tables, _mac_key(settings), keys)
    _print_verified(report, as_json=as_json)
    if not report.ok:
        raise SystemExit(FOUND)


@click.command()
@click.option(
    "--files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A file of the collector, or a directory of them; may be repeated.",
)
@json_option
@data_option
def reconcile(*, files: tuple[Path, ...], as_json: bool) -> None:
    """Compare the ids and bodies of the table with those in the collector's files, both ways."""
    places = files or (load_settings().collector_files / "audit",)
    with opened_trail() as (connection, tables):
        report = compare(connection, tables, places)
    _print_reconciled(report, as_json=as_json)
    if not report.ok:
        raise SystemExit(FOUND)


def _mac_key(settings: Settings) -> MacKey | None:
    try:
        return load_or_create_mac_key(settings.mac_key_file, create=False)
    except KeyFileError as error:
        click.echo(f"{error.message} The MACs are not checked.", err=True)
        return None


def _public_keys(settings: Settings, given: tuple[str, ...]) -> list[PublicKey]:
    try:
        if given:
            return [PublicKey.parse(text) for text in given]
        return [load_or_create_signing_key(settings.signing_key_file, create=False).public]
    except NoteError as error:
        raise Failure(f"--public-key: {error}.") from error
    except KeyFileError as error:
        click.echo(f"{error.message} The signatures are not checked.", err=True)
        return []


def _print_verified(report: VerifyReport, *, as_json: bool) -> None:
    if as_json:
        print_object(report.to_dict())
        return
    click.echo(f"{report.rows} rows, {report.tree_size} sealed, {report.checkpoints} checkpoints")
    click.echo(f"root {report.root}")
    for finding in report.findings[:_SHOWN]:
        click.echo(f"seq {finding.seq}  {finding.kind}  {finding.detail}  {finding.event_id or ''}")
    _more(len(report.findings))
    if report.tree_size == 0:
        click.echo("nothing is sealed yet, so nothing could be verified")
    else:
        click.echo("verified" if report.ok else "NOT as it was written")


def _print_reconciled(report: ReconcileReport, *, as_json: bool) -> None:
    if as_json:
        print_object(report.to_dict())
        return
    click.echo(f"{report.rows} rows, {report.found} found, {report.duplicates} duplicates")
    for kind in ("missing", "unknown", "different"):
        ids: list[str] = getattr(report, kind)
        for event_id in ids[:_SHOWN]:
            click.echo(f"{kind}  {event_id}")
        _more(len(ids))
    if report.damaged_lines:
        click.echo(f"{report.damaged_lines} pieces of the files are damaged")
    click.echo("reconciled" if report.ok else "NOT reconciled")


def _more(count: int) -> None:
    if count > _SHOWN:
        click.echo(f"… and {count - _SHOWN} more")
