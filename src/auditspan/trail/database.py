"""The database of a trail: its sessions, its engine, and the worker on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from sqlalchemy import Engine, MetaData
from sqlalchemy.orm import Session, sessionmaker

from auditspan.capture import Capture, register
from auditspan.format import MacKey
from auditspan.mapping import keep_private, privacy_of
from auditspan.storage import AuditTables, add_erasure_keys, audit_tables
from auditspan.storage.dialects import require_supported
from auditspan.trail.sessions import Sessions, engine_of, session_factory, synchronous

if TYPE_CHECKING:
    from auditspan.delivery.worker import Worker
    from auditspan.trail.settings import TrailSettings


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

    def for_database(self, engine: Engine, metadata: MetaData | None = None) -> Self:
        """Return this trail on another database of its models, which has audit tables of its own.

        It reads, records, verifies and seals there, and `auditspan --app` accepts it. Changes
        are recorded by this trail, in whichever database they are made.

        Args:
            engine: the other database.
            metadata: the metadata of its tables, such as that of a bind of Flask-SQLAlchemy; by
                default the metadata of this trail.

        Raises:
            AuditConfigError: the database is unsupported.
        """
        self.register_engine(engine)
        own = self.tables.event.metadata
        made = copy(self)
        if metadata is not None and metadata is not own:
            made.tables = audit_tables(metadata)
            keep_private(metadata, privacy_of(own))
            if self._capture.erasure_keys is not None:
                add_erasure_keys(metadata, self._capture.erasure_keys)
        made._sessions = sessionmaker(engine)  # noqa: SLF001 (of this class)
        made._capture = replace(self._capture, tables=made.tables)  # noqa: SLF001
        return made

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
        from auditspan.trail.settings import in_process  # noqa: PLC0415 (needs the extra `worker`)

        with (
            self.opened_engine() as engine,
            in_process(engine, self.tables, self.mac_key, settings) as worker,
        ):
            yield worker
