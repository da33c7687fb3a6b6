"""A streaming replica of a server of our own, which may be paused, hung, crashed and started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from support.cluster import Cluster


@dataclass(frozen=True, kw_only=True)
class Standby:
    """A hot standby with a directory and a socket of its own; removed by `destroy`."""

    primary: Cluster
    folder: Path

    @classmethod
    def make(cls, primary: Cluster) -> Standby:
        """A copy of the running primary, which streams from it."""
        standby = cls(primary=primary, folder=Path(tempfile.mkdtemp(prefix="auditspan-standby-")))
        shutil.chown(standby.folder, user=standby._server.system_user or os.getuid())
        try:
            standby._copy()
            standby.start()
        except BaseException:
            standby.destroy()
            raise
        return standby

    def url(self, database: str) -> str:
        """The URL of a database on it."""
        url = self.primary.url.set(database=database, query={"host": str(self.folder)})
        return url.render_as_string(hide_password=False)

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        options = ("-l", str(self.folder / "log"), "-o", f"-h '' -k {self.folder}")
        self._run("pg_ctl", "-w", "-t", "120", *options, "start")

    def crash(self) -> None:
        """Stop it at once."""
        self._run("pg_ctl", "-w", "-t", "120", "-m", "immediate", "stop")

    def hang(self) -> None:
        """Stop answering, without closing anything."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo `hang`."""
        self._signal(signal.SIGCONT)

    def pause(self) -> None:
        """Stop replaying: from now on it lags."""
        self._ask("SELECT pg_wal_replay_pause()")

    def resume(self) -> None:
        """Resume replaying."""
        self._ask("SELECT pg_wal_replay_resume()")

    def is_caught_up(self) -> bool:
        """Return whether it has replayed all that the primary has written."""
        engine = create_engine(self.primary.url)
        with engine.connect() as connection:
            written = connection.scalar(text("SELECT pg_current_wal_lsn()"))
        engine.dispose()
        return bool(self._ask(f"SELECT pg_last_wal_replay_lsn() >= '{written}'"))

    def destroy(self) -> None:
        """Stop it and remove its directory."""
        if (self._data / "postmaster.pid").exists():
            self.go_on()
            self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _copy(self) -> None:
        source = self.primary.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._run("pg_basebackup", "--write-recovery-conf", "--checkpoint=fast", "-d", source)

    @property
    def _data(self) -> Path:
        return self.folder / "data"  # beside the socket, and not around it as the primary's

    @property
    def _server(self) -> Any:
        return self.primary._server  # noqa: SLF001 (knows where the programs are, and their user)

    def _ask(self, query: str) -> Any:
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            answer = connection.scalar(text(query))
        engine.dispose()
        return answer

    def _run(self, program: str, *arguments: str) -> None:
        # What it starts keeps the pipes open, so that there must be none to wait for.
        subprocess.run(
            [self._server.bin_path / program, "-D", self._data, *arguments],
            user=self._server.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=300,
            check=True,
        )

    def _signal(self, number: int) -> None:
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, number)  # first, so that it starts no more
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            with suppress(ProcessLookupError):  # that of a connection which has just been closed
                os.kill(int(child), number)
