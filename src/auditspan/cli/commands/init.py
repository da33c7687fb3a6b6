"""`auditspan init`: keys, tables and guards of an application."""

from __future__ import annotations

import click
from sqlalchemy import Engine, inspect, select

from auditspan.cli.commands.console import print_result
from auditspan.cli.commands.target import Target, on_trail
from auditspan.mapping import has_erasable
from auditspan.seal.guards import check_guards, restore_guards
from auditspan.storage import erasure_keys_of, snapshot
from auditspan.storage.keys import (
    load_or_create_erasure_keys,
    load_or_create_mac_key,
    load_or_create_signing_keys,
)
from auditspan.tlog import PublicKey
from auditspan.trail.settings import require_first_mac_key, require_first_signing_key


@click.command()
@on_trail
def init(target: Target) -> None:
    """Create the keys, tables and guards of an application; safe to repeat.

    Creates what is missing, and changes nothing else. A missing key that the trail has used is an
    error, because a new one would not match its rows; in production, so is every key that is
    missing from a trail with rows. An application with Alembic creates its tables by its
    migrations.
    """
    settings = target.settings
    with target.opened_engine() as engine:
        public, keys = _create_keys(target, engine)
        created = [*keys, *_create_tables(target, engine), *_create_guards(target, engine)]
        url = engine.url.render_as_string()
    files = {n: str(getattr(settings, n)) for n in ("mac_key_file", "signing_key_file")}
    print_result(
        {"created": created, **files, "public_key": public.vkey, "database_url": url},
        [
            f"created   {', '.join(created) or 'nothing: everything exists'}",
            f"keys      {settings.mac_key_file} (MAC), {settings.signing_key_file} (signing)",
            f"database  {url}",
            f"public    {public.vkey} (keep a copy outside the database)",
            f"next      {target.command} worker",
        ],
    )


def _create_keys(target: Target, engine: Engine) -> tuple[PublicKey, list[str]]:
    """Create the missing keys.

    Raises:
        KeyFileError: a key is missing that the trail has used; or one is missing, the trail has
            rows, and this is production.
    """
    may_create = target.creates_keys or not _has_rows(target, engine)
    mac, signing = target.settings.mac_key_file, target.settings.signing_key_file
    names = {mac: "MAC key", signing: "signing key"}
    created = [name for path, name in names.items() if not path.exists()]
    if target.mac_keys() and not mac.exists():
        created.remove("MAC key")  # the application provides its own
    else:
        require_first_mac_key(engine, target.tables, mac)
        load_or_create_mac_key(mac, create=may_create)
    if has_erasable(target.metadata) and not erasure_keys_of(target.metadata):
        load_or_create_erasure_keys(target.settings.erasure_key_file, create=may_create)
        created.append("erasure key")
    require_first_signing_key(engine, target.tables, signing)
    signer, *_ = load_or_create_signing_keys(signing, create=may_create)
    return signer.public, created


def _has_rows(target: Target, engine: Engine) -> bool:
    if not target.schema(engine).is_current:
        return False
    with snapshot(engine) as connection:
        return connection.execute(select(target.tables.event.c.id).limit(1)).first() is not None


def _create_tables(target: Target, engine: Engine) -> list[str]:
    """Create the missing tables, unless migrations create them.

    Raises:
        AuditConfigError: the database is migrated by Alembic, and has no audit tables.
    """
    with engine.connect() as connection:
        is_migrated = inspect(connection).has_table("alembic_version")
    if is_migrated:
        target.require_schema(engine)
        return []
    is_new = not target.schema(engine).is_current
    target.metadata.create_all(engine)
    return ["tables"] if is_new else []


def _create_guards(target: Target, engine: Engine) -> list[str]:
    """Restore missing triggers."""
    with snapshot(engine) as connection:
        findings = check_guards(connection, target.tables)
    if not any(finding.kind == "trigger" for finding in findings):
        return []
    with engine.begin() as connection:
        restore_guards(connection, target.tables)
    return ["triggers"]
