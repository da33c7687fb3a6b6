"""Migration of the database schema, and inspection of its state.

All pending migrations run in one transaction on both PostgreSQL and SQLite: either all are applied
or none. Two concurrent upgrades run one after the other, and the second has nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, column, inspect, select, table, text

from auditspan.storage.dialects import PerDialect
from auditspan_service.database.data_directory import make_database_file
from auditspan_service.errors import SchemaError
from auditspan_service.models import ApiKey

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x6175_6469_7473_706E  # "auditspn"
_WAIT_FOR_OTHERS = "120s"
_WAIT_FOR_TABLE = "10s"
_SERVICE_TABLE = ApiKey.__tablename__
"""A table of every revision of the service, and of no application that uses the library."""

_VERSIONS = table("alembic_version", column("version_num"))


@dataclass(frozen=True, kw_only=True)
class SchemaState:
    """State of a database's schema.

    Attributes:
        current: the revision of the database, None before the first.
        head: the revision of this release.
        pending: the pending revisions in order.
        is_known: whether this release knows `current`; if not, a newer release migrated it.
        is_foreign: whether the database contains the trail of an application, not of the service.
    """

    current: str | None
    head: str
    pending: tuple[str, ...]
    is_known: bool
    is_foreign: bool

    @property
    def is_current(self) -> bool:
        """True if the database has this release's schema."""
        return self.current == self.head

    def sentence(self) -> str:
        """Return the state and the required action in one sentence or more."""
        if self.is_current:
            return f"The database is at revision {self.current}, as this release requires."
        if self.is_foreign:
            return (
                "The audit tables in this database belong to an application, not to the service: "
                "name the application with --app MODULE:ATTRIBUTE (docs/how-to/"
                "audit-your-own-application.md)."
            )
        if not self.is_known:
            return (
                f"The database is at revision {self.current}, which this release does not know, "
                "because a newer release upgraded it: run the newer release."
            )
        return (
            f"The database is at revision {self.current or 'none'}, but this release requires "
            f"{self.head}: run `auditspan db upgrade`."
        )


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """Result of an upgrade."""

    before: str | None
    after: str
    applied: tuple[str, ...]


def upgrade(engine: Engine) -> Upgrade:
    """Apply the pending migrations.

    Raises:
        SchemaError: the database is newer than this release, or belongs to an application.
    """
    make_database_file(engine.url)
    with engine.begin() as connection:  # on SQLite: BEGIN IMMEDIATE, so only one at a time
        _TAKE_TURN.of(engine)(connection)
        before = inspect_schema(connection)
        if before.is_foreign or not before.is_known:
            raise SchemaError(before.sentence())
        # Every command inspects the schema, and only this one needs Alembic.
        from alembic import command  # noqa: PLC0415 (see above)

        command.upgrade(configuration(connection), "head")
    return Upgrade(before=before.current, after=before.head, applied=before.pending)


def inspect_schema(connection: Connection) -> SchemaState:
    """Return the schema state of the database of this connection."""
    current = _current_revision(connection)
    known = revisions()
    head = known[-1]
    is_known = current is None or current in known
    applied = known.index(current) + 1 if current in known else 0
    tables = set(inspect(connection).get_table_names())
    return SchemaState(
        current=current,
        head=head,
        pending=known[applied:] if is_known else (),
        is_known=is_known,
        is_foreign=current != head and "audit_event" in tables and _SERVICE_TABLE not in tables,
    )


def configuration(connection: Connection) -> Config:
    """Return Alembic's configuration for this connection, without a file."""
    from alembic.config import Config  # noqa: PLC0415 (see `upgrade`)

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _take_turn(connection: Connection) -> None:
    """Wait for other upgrades, but only briefly for tables, because writers queue behind it."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT_FOR_OTHERS}'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT_FOR_TABLE}'"))


_TAKE_TURN = PerDialect[Callable[[Connection], None]](postgresql=_take_turn, sqlite=lambda _: None)
"""On SQLite, only one transaction has begun to write."""


def _current_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalars(select(_VERSIONS.c.version_num)).one_or_none()


@cache
def revisions() -> tuple[str, ...]:
    """Return the revisions of this release in order, by the names of their files."""
    files = (_MIGRATIONS / "versions").glob("[0-9]*_*.py")
    return tuple(sorted(file.name.partition("_")[0] for file in files))
