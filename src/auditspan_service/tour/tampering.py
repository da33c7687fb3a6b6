"""An attempt to tamper with a copy of the database, which verification must find.

The copy is changed as its owner could: the triggers that keep audit rows append-only are dropped.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import make_url

from auditspan.storage import audit_tables
from auditspan.storage.keys import load_or_create_mac_key
from auditspan.verify import VerifyReport, verify_trail
from auditspan_service.config import Settings
from auditspan_service.database.engine import Database
from auditspan_service.database.sqlite_url import sqlite_file, sqlite_url
from auditspan_service.models import Base

WRITTEN, FORGED = "PATCH", "DELETE"
_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_event'"
_FORGE = "UPDATE audit_event SET body = replace(body, ?, ?) WHERE event_id = ?"


def tamper(settings: Settings, event_id: str, copy: Path) -> VerifyReport:
    """Copy the SQLite database to `copy`, forge one event there, and verify the copy."""
    source = sqlite_file(make_url(settings.database_url))
    with closing(sqlite3.connect(source)) as database, closing(sqlite3.connect(copy)) as forged:
        database.backup(forged)
        for (name,) in forged.execute(_TRIGGERS).fetchall():
            forged.execute(f'DROP TRIGGER "{name}"')
        changed = forged.execute(_FORGE, (WRITTEN, FORGED, event_id)).rowcount
        forged.commit()
    if changed != 1:
        raise LookupError(f"event {event_id} is not in the copy")
    return _verified(settings, copy)


def _verified(settings: Settings, copy: Path) -> VerifyReport:
    key = load_or_create_mac_key(settings.mac_key_file, create=False)
    copied = Database.connect(sqlite_url(copy))
    try:
        with suppress_instrumentation(), copied.reading() as session:
            return verify_trail(session.connection(), audit_tables(Base.metadata), key)
    finally:
        copied.dispose()
