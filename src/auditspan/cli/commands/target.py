"""The target of a command: a trail with its database, keys, sinks and collector files.

A command receives its target from the group that it belongs to: the service, or the application
that `--app` or `flask` names. Commands know nothing else about either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import update_wrapper
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import click
from sqlalchemy import Connection, Engine, MetaData, event
from sqlalchemy.orm import Session

from auditspan.cli.commands.console import json_option
from auditspan.cli.doctor import Examination
from auditspan.cli.options import TARGET, data_option
from auditspan.delivery.worker import Worker
from auditspan.errors import AuditConfigError
from auditspan.format import Actor, MacKey
from auditspan.storage import AuditTables, StoredEvent, audit_tables, lift_time_limits, snapshot
from auditspan.trail import AuditTrail
from auditspan.trail.settings import TrailSettings, mac_keys, running_worker
from auditspan.verify import StateReport, VerifyReport

ACTOR = Actor.system("auditspan-cli")
"""The recorded actor of changes that a command makes."""

Trail: TypeAlias = tuple[Connection, AuditTables]
Events: TypeAlias = list[StoredEvent]
T = TypeVar("T")


class Search(Protocol):
    """Call of a function with the trail, in a snapshot of its own."""

    def __call__(self, read: Callable[[Trail], T], /) -> T:
        """Return the result of the function."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """State of a database's schema.

    Attributes:
        is_current: whether the commands can use it.
        sentence: the state and the required action.
        members: further members of the JSON form.
    """

    is_current: bool
    sentence: str
    members: Mapping[str, Any] = field(default_factory=dict)


class Target(ABC):
    """Trail that commands act on.

    Attributes:
        settings: the key files, sinks and collector files.
        metadata: the metadata of the audited models and of the audit tables.
        command: the command line that leads to this target, for messages.
        schema_error: the error of a database whose schema is not current.
    """

    settings: TrailSettings
    metadata: MetaData
    command: str
    schema_error: type[AuditConfigError] = AuditConfigError

    @property
    def tables(self) -> AuditTables:
        """The audit tables."""
        return audit_tables(self.metadata)

    @property
    @abstractmethod
    def creates_keys(self) -> bool:
        """True if missing keys are created: in development."""

    @property
    @abstractmethod
    def is_embedded(self) -> bool:
        """True if the database is a SQLite file."""

    @property
    def database_hint(self) -> str:
        """The advice for a database that does not answer."""
        return "Check the URL of the application's database."

    @abstractmethod
    def opened_engine(self) -> AbstractContextManager[Engine]:
        """Open an engine with the writers' configuration for the block."""

    @abstractmethod
    def schema(self, engine: Engine) -> Schema:
        """Return the state of the schema, without creating a SQLite file."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[tuple[AuditTrail, Session]]:
        """Open a transaction, with the command as actor."""

    @abstractmethod
    def acting(self) -> AbstractContextManager[tuple[AuditTrail, Session]]:
        """Open a session without a transaction, with the command as actor."""

    def models(self) -> Sequence[MetaData]:
        """Return the metadata of the models that `coverage` checks."""
        return [self.metadata]

    def reviewed_models(self) -> Sequence[MetaData]:
        """Return the metadata of the models that `doctor` reviews: those of an application."""
        return ()

    def mac_keys(self) -> Sequence[MacKey]:
        """Return the MAC keys that this process has, the newest first.

        Raises:
            KeyFileError: the key file cannot be read.
        """
        return mac_keys(self.settings)

    def require_schema(self, engine: Engine) -> None:
        """Refuse a database whose schema is not current.

        Raises:
            AuditConfigError: the message says how to make it so.
        """
        state = self.schema(engine)
        if not state.is_current:
            raise self.schema_error(state.sentence)

    @contextmanager
    def reading(self) -> Iterator[Trail]:
        """Open the trail for reading one snapshot; `rollback` on the connection takes a new one."""
        with self.opened_engine() as engine:
            self.require_schema(engine)
            with snapshot(engine) as connection:
                event.listen(connection, "begin", lift_time_limits)
                yield connection, self.tables

    @contextmanager
    def searching(self) -> Iterator[Search]:
        """Open a search of the trail."""
        with self.opened_engine() as engine:
            self.require_schema(engine)

            def search(read: Callable[[Trail], T]) -> T:
                with snapshot(engine) as connection:
                    return read((connection, self.tables))

            yield search

    def require_ready(self, say: Callable[[str], None]) -> None:
        """Refuse a database that a worker must not start on.

        Raises:
            AuditConfigError: the schema is not current.
            UnprotectedTrailError: the database does not guard the trail.
        """
        with self.opened_engine() as engine:
            self.require_schema(engine)
            self.require_guarded(engine, say)

    @abstractmethod
    def require_guarded(self, engine: Engine, say: Callable[[str], None]) -> None:
        """Refuse a database that does not guard the trail.

        Raises:
            UnprotectedTrailError: it does not, and the settings do not allow that.
        """

    def worker(self, engine: Engine) -> AbstractContextManager[Worker]:
        """Run a worker on this engine for the block.

        Raises:
            KeyFileError: there is no signing key, or a key file cannot be read.
        """
        return running_worker(
            self.settings,
            engine,
            self.tables,
            mac_keys=self.mac_keys(),
            create_keys=self.creates_keys,
        )

    def telemetry(self) -> AbstractContextManager[None]:
        """Set up the worker's logging and metrics for the block."""
        return nullcontext()

    def report(self, report: VerifyReport, live: StateReport | None) -> None:  # noqa: ARG002 (for subclasses)
        """Send the outcome of a verification to the collector.

        Raises:
            click.UsageError: this target has no telemetry of its own.
        """
        raise click.UsageError("--metrics is only available for the service.")

    def examination(self) -> Examination:
        """Return an empty examination for `doctor`."""
        return Examination(is_embedded=self.is_embedded, has_mac_key=bool(self.mac_keys()))

    def diagnosed(self) -> TrailSettings:
        """Return the settings with the sink in use, for `doctor` and `reconcile --resend`."""
        return self.settings

    def collector_configs(self) -> tuple[Path, ...]:
        """Return the collector's configuration that `doctor` checks if none is given."""
        here = Path("otel-collector.yaml")
        return (here,) if here.exists() else ()


def pass_target(command: Callable[..., None]) -> Callable[..., None]:
    """Pass the target of the command as its first argument."""

    def invoked(*args: object, **options: object) -> None:
        make: Callable[[], Target] = click.get_current_context().meta[TARGET]
        command(make(), *args, **options)

    return update_wrapper(invoked, command)


def on_trail(command: Callable[..., None]) -> Callable[..., None]:
    """Pass the target of the command, and add the options `--json` and `--data`."""
    return json_option(data_option(pass_target(command)))
