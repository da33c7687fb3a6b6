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
from support.collector import collector_binary, run_collector
from support.patience import PATIENCE
from support.postgres import migrated_database
from support.running import AUDITSPAN, auditspan, clean_environment

NAMES = ("audited", "exempt", "bare")
PROCESSES = (1, 2)

_CONFIG = "python:auditspan_service.server.gunicorn_conf"
_PATH = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "tests")])
_TRIGGERS = """
SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass)
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE NOT tgisinternal AND relname IN ('users', 'roles', 'api_keys', 'user_roles')
"""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A program that serves.

    Attributes:
        ports: its ports, by the number of processes that answer there.
        groups: the process groups of its servers, by the same number.
        worker: the process group of its worker, if it has one.
    """

    name: str
    key: str
    url: str
    ports: dict[int, int]
    groups: dict[int, int]
    worker: int | None = None

    def cpu(self, processes: int) -> float:
        """Return the seconds of CPU that its server has used, without the database."""
        return cpu_of_group(self.groups[processes])

    def drain(self) -> None:
        """Wait until the worker has sealed and delivered everything."""
        engine = make_engine(self.url)
        try:
            while self.worker and _is_behind(engine):
                time.sleep(0.1)
        finally:
            engine.dispose()


def _is_behind(engine: Engine) -> bool:
    query = (
        "SELECT (SELECT count(*) FROM audit_event) > "
        "(SELECT coalesce(max(sent_seq) + 1, 0) FROM audit_delivery)"
    )
    with engine.connect() as connection:
        return bool(connection.execute(text(query)).scalar_one())


def cpu_of_group(group: int) -> float:
    """Return the seconds of CPU of the processes that live in this group."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


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
    if name != "audited":
        _drop_triggers(url)
    ports, groups = {}, {}
    for processes in PROCESSES:
        ports[processes] = _free_port()
        command = _command(name, ports[processes], processes)
        groups[processes] = stack.enter_context(_running(command, environ, folder))
        _await_port(ports[processes])
    worker = None
    if name != "bare":
        worker = stack.enter_context(_running([str(AUDITSPAN), "worker"], environ, folder))
    return Subject(name=name, key=key, url=url, ports=ports, groups=groups, worker=worker)


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
    app = {"audited": "auditspan_service.wsgi:app", "exempt": "serving.exempt:app"}[name]
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
