"""PostgreSQL 13 or newer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection

from auditspan.errors import AuditConfigError

IMAGES_ARE_TAGGED = False
RETURNING = " RETURNING 1"  # a rule that inserts the row elsewhere cannot return anything
SNAPSHOT: Mapping[str, str] = {"isolation_level": "REPEATABLE READ"}

_OLDEST = (13,)
_SNAPSHOTS = frozenset({"repeatable read", "serializable"})
_LIMITS = {
    "idle_in_transaction_session_timeout": (),  # first: it may pass between these statements
    "statement_timeout": (),
    "transaction_timeout": (17,),
}
"""The settings, each with the first version of PostgreSQL that supports it."""


def require_version(version: tuple[int, ...]) -> None:
    """Require the first version with `pg_current_xact_id`."""
    if version and version < _OLDEST:
        raise AuditConfigError(
            f"unsupported PostgreSQL version {'.'.join(map(str, version))}: auditspan requires "
            "PostgreSQL 13 or newer (for pg_current_xact_id)"
        )


def bound_time(utc: datetime) -> datetime:
    """Return the aware time; the server stores UTC."""
    return utc


def text_decoder() -> None:
    """Return None: the server guarantees the encoding."""


def lift_time_limits(connection: Connection) -> None:
    """Disable the settings for this transaction, not for the session."""
    version = connection.dialect.server_version_info or ()
    known = [name for name, first in _LIMITS.items() if version >= first]
    for name in known:  # one by one: several statements in one text could be writes
        connection.exec_driver_sql(f"SET LOCAL {name} = 0")


@contextmanager
def kept_alive(connection: Connection) -> Iterator[None]:
    """Wait in a transaction without a snapshot, which holds no lock and does not delay VACUUM."""
    with connection.begin():
        lift_time_limits(connection)
        yield


def read_snapshot(connection: Connection) -> None:
    """Set the isolation level of the transaction."""
    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def require_snapshot(connection: Connection) -> None:
    """Check the isolation level."""
    level = connection.exec_driver_sql("SHOW transaction_isolation").scalar_one()
    if level not in _SNAPSHOTS:
        raise AuditConfigError(
            f"the state check needs one snapshot, but this transaction is {level}: open the "
            'connection with execution_options(isolation_level="REPEATABLE READ")'
        )
