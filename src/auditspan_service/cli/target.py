"""The service as the target of commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from auditspan import AuditTrail
from auditspan.cli.commands import Failure, Schema, Search, Target, Trail
from auditspan.cli.doctor import Examination
from auditspan.delivery.worker import Worker
from auditspan.mapping import keep_private
from auditspan.storage import add_erasure_keys
from auditspan.storage.dialects import DIALECTS
from auditspan.storage.keys import erasure_keys_at
from auditspan.trail.settings import require_guarded
from auditspan.verify import StateReport, VerifyReport
from auditspan_service.api.limits import notes_on_limits
from auditspan_service.cli.database import opened_engine, opened_services, schema_state
from auditspan_service.collector import config_file
from auditspan_service.config import Settings, load_settings
from auditspan_service.database.data_directory import close_data_dir
from auditspan_service.database.engine import Database
from auditspan_service.errors import SchemaError
from auditspan_service.files.up_file import as_running, is_running
from auditspan_service.models import Base
from auditspan_service.telemetry.logs import setup_logging
from auditspan_service.telemetry.reporting import report_verified, reporting_metrics

T = TypeVar("T")

_OF_UP = " (`auditspan up` starts its own collector, but is not running on this data directory.)"


class ServiceTarget(Target):
    """Trail of the service, as its settings describe it."""

    command = "auditspan"
    database_hint = "Check AUDITSPAN_DATABASE_URL."
    schema_error = SchemaError

    def __init__(self) -> None:
        self.settings: Settings = load_settings()
        self.metadata = Base.metadata
        add_erasure_keys(self.metadata, partial(erasure_keys_at, self.settings.erasure_key_file))
        keep_private(self.metadata, self.settings.privacy)

    @property
    def is_embedded(self) -> bool:
        """True if the database is a SQLite file."""
        return self.settings.is_embedded

    @property
    def creates_keys(self) -> bool:
        """True if missing keys are created; a shared database has other writers with the keys."""
        return self.settings.is_embedded

    def opened_engine(self) -> AbstractContextManager[Engine]:
        """Open an engine that is not instrumented, so it makes no spans."""
        return opened_engine(self.settings)

    def schema(self, engine: Engine) -> Schema:
        """Return the revision of the schema and the pending migrations."""
        state = schema_state(engine)
        return Schema(
            is_current=state.is_current,
            sentence=state.sentence(),
            members={
                "current": state.current,
                "head": state.head,
                "pending": list(state.pending),
            },
        )

    @contextmanager
    def writing(self) -> Iterator[tuple[AuditTrail, Session]]:
        """Open a transaction, with the command as actor."""
        with opened_services() as services, services.database.writing() as session:
            yield services.trail, session

    @contextmanager
    def acting(self) -> Iterator[tuple[AuditTrail, Session]]:
        """Open a session without a transaction, with the command as actor."""
        with opened_services() as services, services.database.sessions() as session:
            yield services.trail, session

    @contextmanager
    def searching(self) -> Iterator[Search]:
        """Open a search of the trail, on the read replica if it answers."""
        database = Database.connect(self.settings.database_url, self.settings.read_database_url)

        def search(read: Callable[[Trail], T]) -> T:
            return database.search(lambda connection: read((_still(connection), self.tables)))

        try:
            self.require_schema(database.engine)
            yield search
        finally:
            database.dispose()

    def require_ready(self, say: Callable[[str], None]) -> None:
        """Refuse a database that must not be served or worked on.

        First removes other users' access to the files of an embedded database.

        Raises:
            SchemaError: the schema is not current; `auditspan db upgrade` fixes that.
            UnprotectedTrailError: the trail is not guarded, and the settings do not allow that.
        """
        close_data_dir(self.settings, say=say)
        super().require_ready(say)

    def require_guarded(self, engine: Engine, say: Callable[[str], None]) -> None:
        """Refuse a database that does not guard the trail.

        Raises:
            UnprotectedTrailError: it does not, and the settings do not allow that.
        """
        require_guarded(engine, self.tables, self.settings, say=say)

    def worker(self, engine: Engine) -> AbstractContextManager[Worker]:
        """Run a worker, unless that of `auditspan up` works on the same SQLite file.

        Raises:
            Failure: `auditspan up` runs on this data directory.
            KeyFileError: there is no signing key, or a key file cannot be read.
        """
        if self.is_embedded and is_running(self.settings):
            raise Failure(
                f"`auditspan up` runs a worker on {self.settings.data_dir} already, and SQLite "
                "takes one: use that one, or stop it first."
            )
        return super().worker(engine)

    @contextmanager
    def telemetry(self) -> Iterator[None]:
        """Set up the worker's logging, and export its metrics to the sink."""
        setup_logging(level=self.settings.log_level, log_format=self.settings.log_format)
        with reporting_metrics(self.settings):
            yield

    def report(self, report: VerifyReport, live: StateReport | None) -> None:
        """Send the outcome of a verification to the collector."""
        report_verified(self.settings, report, live)

    def examination(self) -> Examination:
        """Return an empty examination for `doctor`."""
        # With SQLite the collector is mostly that of `up`, and stops with it.
        return Examination(
            is_embedded=self.is_embedded,
            hint=_OF_UP if self.is_embedded else "",
            notes=notes_on_limits(self.settings),
        )

    def diagnosed(self) -> Settings:
        """Return the settings with the sink of a running `auditspan up`."""
        return as_running(self.settings)

    def collector_configs(self) -> tuple[Path, ...]:
        """Return the configuration in this directory, or else the bundled one."""
        return super().collector_configs() or (config_file(),)


def _still(connection: Connection) -> Connection:
    """Return the connection with snapshot isolation for its transaction."""
    DIALECTS.of(connection).read_snapshot(connection)
    return connection
