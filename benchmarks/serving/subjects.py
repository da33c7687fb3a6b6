"""The programs that are measured, each under gunicorn on a database of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text

from auditspan.storage.keys import (
    load_or_create_erasure_keys,
    load_or_create_mac_key,
    load_or_create_signing_keys,
)
from auditspan_service.collector import Collector
from auditspan_service.database.engine import make_engine
from serving.cpu import Programs, postmaster_of
from support.collector import collector_binary, run_collector
from support.patience import PATIENCE
from support.postgres import migrated_database
from support.running import AUDITSPAN, auditspan, clean_environment

NAMES = ("audited", "floor", "exempt", "bare")
RECORDING = ("audited", "floor")
"""Those with triggers, which write audit rows."""

PROCESSES = (1, 2)

_CONFIG = "python:auditspan_service.server.gunicorn_conf"
_PATH = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "tests")])
_TRIGGERS = """
SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass)
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE NOT tgisinternal AND relname IN ('users', 'roles', 'api_keys', 'user_roles')
"""

_IS_BEHIND = text("""
SELECT coalesce((SELECT seq FROM audit_leaf WHERE row_id = (SELECT max(id) FROM audit_event))
    > (SELECT max(sent_seq) FROM audit_delivery), true)
""")
"""Whether the newest row is undelivered, read from indexes, so that waiting costs little."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A program that serves.

    Attributes:
        ports: its ports, by the number of processes that answer there.
        programs: the programs that take part in its requests, by the same number.
        engine: its database, for this benchmark.
    """

    name: str
    key: str
    ports: dict[int, int]
    programs: dict[int, Programs]
    engine: Engine

    def drain(self) -> None:
        """Wait until the worker has sealed and delivered everything."""
        while self.name in RECORDING and self._is_behind():
            time.sleep(0.1)

    def _is_behind(self) -> bool:
        with self.engine.connect() as connection:
            return bool(connection.execute(_IS_BEHIND).scalar_one())


@contextmanager
def subjects(folder: Path) -> Iterator[list[Subject]]:
    """Start every program beside one collector; they end when the block does."""
    with ExitStack() as stack:
        collector = stack.enter_context(run_collector(collector_binary(), folder))
        yield [_started(stack, name, folder / name, collector) for name in NAMES]


def _started(stack: ExitStack, name: str, folder: Path, collector: Collector) -> Subject:
    url = stack.enter_context(migrated_database())
    environ = _environ(folder, url, collector)
    key = _key(environ)
    if name not in RECORDING:
        _drop_triggers(url)
    worker = None
    if name != "bare":
        worker = stack.enter_context(_running([str(AUDITSPAN), "worker"], environ, folder))
    engine = make_engine(url)
    stack.callback(engine.dispose)
    postmaster = postmaster_of(engine)
    ports, programs = {}, {}
    for processes in PROCESSES:
        port = ports[processes] = _free_port()
        group = stack.enter_context(_running(_command(name, port, processes), environ, folder))
        programs[processes] = Programs(
            server=group, postmaster=postmaster, worker=worker, collector=collector.pid
        )
        _await_port(port)
    return Subject(name=name, key=key, ports=ports, programs=programs, engine=engine)


def _key(environ: dict[str, str]) -> str:
    command = ("keys", "create", "--username", "load", "--scope", "admin", "--json")
    made = auditspan(*command, **environ)
    if made.returncode:
        raise RuntimeError(made.stderr)
    return str(json.loads(made.stdout)["key"])


def _environ(folder: Path, url: str, collector: Collector) -> dict[str, str]:
    folder.mkdir()
    load_or_create_mac_key(folder / "mac.key", create=True)
    load_or_create_erasure_keys(folder / "erasure.key", create=True)
    load_or_create_signing_keys(folder / "signing.key", create=True)
    return {
        "PYTHONPATH": _PATH,
        "AUDITSPAN_DATABASE_URL": url,
        "AUDITSPAN_DATA_DIR": str(folder),
        "AUDITSPAN_MAC_KEY_FILE": str(folder / "mac.key"),
        "AUDITSPAN_ERASURE_KEY_FILE": str(folder / "erasure.key"),
        "AUDITSPAN_SIGNING_KEY_FILE": str(folder / "signing.key"),
        "AUDITSPAN_AUDIT_ENDPOINT": collector.audit_endpoint,
        "AUDITSPAN_RATE_LIMIT": "10000000/minute",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_endpoint,
    }


def _command(name: str, port: int, processes: int) -> list[str]:
    gunicorn = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    gunicorn += ["--workers", str(processes)]
    if name == "bare":
        return [*gunicorn, "--threads", "8", "--no-control-socket", "serving.bare:app"]
    app = "auditspan_service.wsgi:app" if name == "audited" else f"serving.{name}:app"
    return [*gunicorn, "-c", _CONFIG, app]


def _drop_triggers(url: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        for statement in connection.execute(text(_TRIGGERS)).scalars().all():
            connection.execute(text(statement))
    engine.dispose()


@contextmanager
def _running(command: list[str], environ: dict[str, str], folder: Path) -> Iterator[int]:
    """Run a program in a process group of its own; the group."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 (our own programs)
            command,
            env={**clean_environment(), **environ},
            stdout=log,
            stderr=log,
            process_group=0,
        )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _await_port(port: int) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return
