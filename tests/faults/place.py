"""A deployment of real processes: the service under gunicorn, its worker, a collector, PostgreSQL.

Each runs under the rights that it has in a deployment, and with its guards on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine

from auditspan.storage import add_erasure_keys
from auditspan.storage.keys import (
    load_or_create_erasure_keys,
    load_or_create_mac_key,
    load_or_create_signing_keys,
)
from auditspan_service.cli import main
from auditspan_service.collector import Collector
from auditspan_service.models import Base
from support.collector import run_collector
from support.patience import PATIENCE
from support.ports import free_port
from support.program import Program
from support.roles import Deployed
from support.running import AUDITSPAN, clean_environment


@dataclass(kw_only=True)
class Place:
    """Where everything is.

    Attributes:
        folder: holds keys, logs and the collector's files.
        database: with its roles.
        collector: the real one.
        url: where the service answers.
        key: opens everything.
        superuser: an engine for those who look from outside.
        audit_endpoint: where workers send; the collector's by default.
    """

    folder: Path
    database: Deployed
    collector: Collector
    url: str
    superuser: Engine
    audit_endpoint: str
    key: str = field(default="", repr=False)
    stops: ExitStack = field(default_factory=ExitStack)

    def environ(self, role: str) -> dict[str, str]:
        """What a process is told that connects as this role."""
        told = clean_environment()
        del told["AUDITSPAN_ALLOW_UNGUARDED"]
        return {
            **told,
            "AUDITSPAN_DATA_DIR": str(self.folder),
            "AUDITSPAN_DATABASE_URL": self.database.url(role),
            "AUDITSPAN_AUDIT_ENDPOINT": self.audit_endpoint,
            "AUDITSPAN_COLLECTOR_FILES": str(self.collector.audit_files.parent),
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.otlp_endpoint,
        }

    def service(self) -> Program:
        """The service, started, answering; ended with the place."""
        port = self.url.rpartition(":")[2]
        program = self._start("service", "serve", "--port", port, role="app")
        self.await_ready()
        return program

    def worker(self, name: str = "worker") -> Program:
        """A worker, started, at work or standing by; ended with the place."""
        program = self._start(name, "worker", role="worker")
        await_worker(program)
        return program

    def command(self, *arguments: str | Path, role: str = "worker") -> dict[str, Any]:
        """The report of a command that ends with 0 or 1; in this process, which costs no start."""
        environ: dict[str, str | None] = {**dict.fromkeys(os.environ), **self.environ(role)}
        done = CliRunner().invoke(main, [str(one) for one in arguments], env=environ)
        assert done.exit_code in {0, 1}, done.output[-2000:]
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def await_ready(self, seconds: float = PATIENCE) -> None:
        """Until the service says that requests can be served."""
        with httpx.Client(base_url=self.url, trust_env=False, timeout=60) as client:
            wait_for(lambda: _is_ready(client), seconds, "the service is not ready")

    def client(self) -> httpx.Client:
        """A caller with the key."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.key}"},
            trust_env=False,
            timeout=60,
        )

    def _start(self, name: str, *arguments: str, role: str) -> Program:
        program = Program(
            [AUDITSPAN, *arguments], environ=self.environ(role), log=self.folder / f"{name}.log"
        )
        program.start()
        self.stops.callback(program.kill)
        return program


@contextmanager
def placed(database: Deployed, folder: Path, binary: Path) -> Iterator[Place]:
    """A place with keys and a collector; service and worker are started by whoever wants them."""
    mac, signing = (folder / "keys" / name for name in ("mac.key", "signing.key"))
    load_or_create_mac_key(mac, create=True)
    erasure_keys = load_or_create_erasure_keys(folder / "keys" / "erasure.key", create=True)
    add_erasure_keys(Base.metadata, erasure_keys)  # for the oracle
    load_or_create_signing_keys(signing, create=True)
    superuser = create_engine(database.superuser, pool_pre_ping=True)
    with run_collector(binary, folder) as collector:
        place = Place(
            folder=folder,
            database=database,
            collector=collector,
            url=f"http://127.0.0.1:{free_port()}",
            superuser=superuser,
            audit_endpoint=collector.audit_endpoint,
        )
        made = place.command("keys", "create", "--username", "admin", "--scope", "admin", "--json",
                             role="app")  # fmt: skip
        place.key = made["key"]
        with place.stops:
            yield place
    superuser.dispose()


def await_worker(program: Program, times: int = 1) -> None:
    """Until it has begun to work so many times."""
    wait_for(
        lambda: program.log.read_bytes().count(b"worker running") >= times,
        PATIENCE,
        "the worker does not run",
    )


def wait_for(condition: Callable[[], bool], seconds: float, otherwise: str) -> float:
    """Wait until it is so; how many seconds that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, otherwise
        time.sleep(0.05)
    return time.monotonic() - started


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
