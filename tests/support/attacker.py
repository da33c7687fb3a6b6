"""Attacks with the rights of the tables' owner, which remove the guards first."""

from __future__ import annotations

from sqlalchemy import Connection, text

from auditspan.storage.tables import AuditTables

_CAPTURES = text("SELECT true FROM pg_trigger WHERE tgname = 'audit_event_recorded'")
_CAPTURE_ON = text("ALTER TABLE audit_event ENABLE ALWAYS TRIGGER audit_event_recorded")
"""The trail's own engine would refuse every write without this trigger, and so show the attack."""

_TRIGGERS = text(
    "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'audit_%'"
)


def take_guards_away(connection: Connection) -> None:
    """Switch off the triggers of the append-only tables, and leave everything else as it is.

    Written without the library: an attacker does not ask it for the names.
    """
    if connection.dialect.name == "sqlite":
        for name in connection.scalars(_TRIGGERS).all():
            connection.execute(text(f'DROP TRIGGER "{name}"'))
        return
    for table in AuditTables.__dataclass_fields__:
        connection.execute(text(f"ALTER TABLE audit_{table} DISABLE TRIGGER USER"))
    if connection.scalar(_CAPTURES):
        connection.execute(_CAPTURE_ON)
