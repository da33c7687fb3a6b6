"""Refusal to create a key where the trail has used another one.

A missing key file usually means another data directory or another working directory. A new key in
its place would make the rows before it and the rows after it unverifiable together.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, Select, inspect, select

from auditspan.errors import KeyFileError
from auditspan.storage import AuditTables, StoredText, is_missing_file, snapshot
from auditspan.tlog import log_name


def require_first_signing_key(engine: Engine, tables: AuditTables, path: Path) -> None:
    """Refuse to create a signing key for a trail that has signed checkpoints.

    Raises:
        KeyFileError: the file does not exist, and the newest signed checkpoint names its key.
    """
    point = tables.checkpoint.c
    newest = select(StoredText(point.note)).where(point.note.is_not(None))
    note = _first(engine, tables, path, newest.order_by(point.tree_size.desc()))
    if note is not None:
        raise KeyFileError(
            f"The signing key file {path} does not exist, but checkpoints of this trail are signed "
            f"as {log_name(note) or 'unknown'}: restore the file, or set "
            "AUDITSPAN_SIGNING_KEY_FILE or AUDITSPAN_DATA_DIR to its place. If it is lost, "
            "`auditspan checkpoint --init` creates another key, and `verify` reports the "
            "checkpoints before it from then on."
        )


def require_first_mac_key(engine: Engine, tables: AuditTables, path: Path) -> None:
    """Refuse to create a MAC key for a trail whose rows have MACs.

    Raises:
        KeyFileError: the file does not exist, and a row names its key.
    """
    event = tables.event.c
    of_row = select(StoredText(event.mac_key_id)).where(event.mac_key_id.is_not(None))
    key_id = _first(engine, tables, path, of_row.order_by(event.id.desc()))
    if key_id is not None:
        raise KeyFileError(
            f"The MAC key file {path} does not exist, but rows of this trail have MACs under the "
            f"key {key_id}: restore the file, or set AUDITSPAN_MAC_KEY_FILE or AUDITSPAN_DATA_DIR "
            "to its place. If it is lost, `auditspan keys init` creates another key, and `verify` "
            "reports the rows before it from then on."
        )


def _first(
    engine: Engine, tables: AuditTables, path: Path, query: Select[tuple[str]]
) -> str | None:
    """Return the first value of a query on a trail that exists, if the key file does not."""
    if path.exists() or not _exists(engine, tables):
        return None
    with snapshot(engine) as connection:
        found: str | None = connection.scalar(query.limit(1))
        return found


def _exists(engine: Engine, tables: AuditTables) -> bool:
    """Return whether the database has the tables, without creating a SQLite file."""
    if is_missing_file(engine.url):
        return False
    with engine.connect() as connection:
        schema = connection.schema_for_object(tables.event)
        return inspect(connection).has_table(tables.event.name, schema=schema)
