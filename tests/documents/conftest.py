"""Places in which pages are done: a checkout, a service, ports that nothing listens on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from documents.page import ROOT
from support.ports import free_port
from support.relaying import wait_for
from support.running import Up, auditspan

_LINKED = (
    *("Makefile", ".venv", ".uv", "src", "tests", "examples", "deploy", "docs"),
    *("pyproject.toml", "uv.lock", "README.md", "LICENSE", "otel-collector.yaml"),
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory that looks like a checkout, into which commands may write."""
    directory = tmp_path / "checkout"
    directory.mkdir()
    for name in _LINKED:
        (directory / name).symlink_to(ROOT / name)
    return directory


@dataclass(frozen=True, kw_only=True)
class Network:
    """Free ports, in the place of those that pages name."""

    environ: dict[str, str]
    replace: dict[str, str]


@pytest.fixture
def network(collector_bin: Path, tmp_path: Path) -> Network:
    """Ports of a Flask application and of a collector, which is on PATH as `otelcol`."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "otelcol").symlink_to(collector_bin)
    flask, audit_port = str(free_port()), str(free_port())
    audit = f"http://127.0.0.1:{audit_port}/v1/audit"
    return Network(
        environ={
            "FLASK_RUN_PORT": flask,
            "OTELCOL_BIN": str(collector_bin),
            "OTELCOL_HOST": "127.0.0.1",
            "OTELCOL_HTTP_PORT": str(free_port()),
            "OTELCOL_GRPC_PORT": str(free_port()),
            "OTELCOL_AUDIT_PORT": audit_port,
            "OTELCOL_HEALTH_PORT": str(free_port()),
            "AUDITSPAN_AUDIT_ENDPOINT": audit,
            "FLASK_AUDITSPAN_AUDIT_ENDPOINT": audit,
        },
        replace={"localhost:5000": f"localhost:{flask}", " otelcol ": f" {programs}/otelcol "},
    )


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service that has run: its data, and what pages have placeholders for."""

    directory: Path
    data: Path
    public_key: str
    proof: str
    export: str
    trace_id: str

    @property
    def environ(self) -> dict[str, str]:
        """Variables of its commands."""
        return {"AUDITSPAN_DATA_DIR": str(self.data), "AUDITSPAN_SINK": "file"}

    @property
    def replace(self) -> dict[str, str]:
        """Texts of the pages, and what they are here."""
        return {
            "/var/lib/otelcol/audit": str(self.data / "collector" / "audit"),
            "/var/lib/otelcol": str(self.data / "collector"),
            "'auditspan/3aaef6c4+d8920305+Aeo1…'": f"'{self.public_key}'",
            "'auditspan/3aaef6c4+…'": f"'{self.public_key}'",
            "--since 1000000": "--since 1",
            "TRACE_ID": self.trace_id,
            "python verify_independently.py": f"python {ROOT}/docs/verify_independently.py",
            " audit.jsonl": f" {self.data}/collector/audit/audit.jsonl",
            "/etc/otelcol/config.yaml": str(ROOT / "otel-collector.yaml"),
            "--app shop.models:Base": "--app shop:Base",
        }


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service with delivered events, a proof and an export; it is stopped."""
    directory = tmp_path_factory.mktemp("service")
    data = directory / "data"
    with Up(data, environ={"AUDITSPAN_SINK": "file"}) as up:
        made = up.client.post("/v1/users", json={"username": "kim"})
        trace_id = made.headers["traceresponse"].split("-")[1]
        event_id = up.client.get("/v1/audit-events").json()["items"][-1]["event_id"]
        proof = f"/v1/audit-events/{event_id}/proof"
        wait_for(lambda: up.client.get(proof).status_code == 200)
        wait_for(lambda: up.client.get(f"/v1/audit-events/{event_id}").json()["delivered"])
        answers = [up.client.get(one).text for one in (proof, "/v1/audit-events/export")]
    key = auditspan("checkpoint", "--public-key", AUDITSPAN_DATA_DIR=str(data)).stdout
    return Service(
        directory=directory,
        data=data,
        public_key=key.strip(),
        proof=answers[0],
        export=answers[1],
        trace_id=trace_id,
    )


@pytest.fixture
def service(ran: Service, tmp_path: Path) -> Service:
    """A copy of it, which the commands of one page may change."""
    directory = tmp_path / "here"
    directory.mkdir()
    copy = replace(ran, directory=directory, data=tmp_path / "data")
    shutil.copytree(ran.data, copy.data)
    return copy
