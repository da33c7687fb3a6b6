"""The database of a trail: its sessions, its engine, and the worker on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from auditspan.capture import (
    Capture,
    Sessions,
    engine_of,
    register,
    session_factory,
    synchronous,
)
from auditspan.dialects import require_supported
from auditspan.format import MacKey
from auditspan.storage import AuditTables

if TYPE_CHECKING:
    from auditspan.settings import TrailSettings
    from auditspan.worker import Worker


class TrailDatabase:
    """Access to the database of a trail; the base of `AuditTrail`.

    Attributes:
        tables: the audit tables.
    """

    tables: AuditTables
    _sessions: Sessions
    _capture: Capture

    @property
    def mac_key(self) -> MacKey | None:
        """The key that authenticates new rows; None without one."""
        return self._capture.mac_key

    def register_engine(self, engine: Engine) -> None:
        """Register an engine of the sessions before they use it.

        The trail finds the engines of its sessions by itself; this is for sessions that are bound
        later, whose engine is used by raw SQL or Core statements first.

        Raises:
            AuditConfigError: the database is unsupported.
        """
        require_supported(engine.dialect)
        register(self._capture, [engine])

    def new_session(self) -> Session:
        """Return a new session, independent of any scope.

        Raises:
            AuditConfigError: the sessions are asynchronous.
        """
        return session_factory(self._sessions)()

    @contextmanager
    def opened_engine(self) -> Iterator[Engine]:
        """Open the engine of the trail's tables; for asynchronous sessions, a synchronous one."""
        with synchronous(engine_of(self._sessions, self.tables.event)) as engine:
            yield engine

    @contextmanager
    def worker(self, settings: TrailSettings | None = None) -> Iterator[Worker]:
        """Run the worker as daemon threads of this process during the block, for development.

        At the end it finishes the batches in flight; remaining rows wait in the table. Any number
        of processes may run it on PostgreSQL, where one seals and sends; on SQLite run one.
        Requires the extra `worker`.

        Args:
            settings: the key files and sinks; by default those of `AUDITSPAN_*`.

        Raises:
            KeyFileError: there is no signing key, and this is not development (SQLite, or
                AUDITSPAN_ENV=development), where it is created.
            SettingsError: a setting is invalid.
        """
        from auditspan.settings import in_process  # noqa: PLC0415 (needs the extra `worker`)

        with (
            self.opened_engine() as engine,
            in_process(engine, self.tables, self.mac_key, settings) as worker,
        ):
            yield worker
