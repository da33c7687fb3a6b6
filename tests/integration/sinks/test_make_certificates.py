"""deploy/make-certificates: what it makes is what collector, service and worker meet with."""

from __future__ import annotations

import ssl
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditspan.delivery.otlp_sink import OtlpSink, TlsFiles
from auditspan.errors import SinkUnavailableError
from integration.sinks.secured import ROOT, with_overlay
from support.collector import run_collector

COMPOSE: dict[str, Any] = yaml.safe_load(
    (ROOT / "deploy/tls/compose.yaml").read_text(encoding="utf-8")
)


def make(directory: Path) -> dict[str, bytes]:
    """Run the script; the files that it leaves."""
    script = ROOT / "deploy/make-certificates"
    subprocess.run([script, directory], check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def files_of(directory: Path, who: str) -> TlsFiles:
    """What one of the three is given."""
    return TlsFiles(
        certificate=directory / "ca.crt",
        client_certificate=directory / f"{who}.crt",
        client_key=directory / f"{who}.key",
    )


def test_whom_it_made_certificates_for_understand_each_other(
    collector_bin: Path, tmp_path: Path
) -> None:
    """Service and worker are let in by the collector, and by nobody's certificate is it fooled."""
    made, others = tmp_path / "tls", tmp_path / "others"
    make(made)
    make(others)
    wrapper = with_overlay(collector_bin, files_of(made, "collector"), tmp_path)
    with run_collector(wrapper, tmp_path) as collector:
        url = collector.audit_endpoint.replace("http://", "https://")
        for who in ("service", "worker"):
            OtlpSink(url, tls=files_of(made, who)).send([])
        refused = [files_of(made, "collector"), files_of(others, "worker")]
        refused.append(TlsFiles(certificate=made / "ca.crt"))
        for files in refused:
            with pytest.raises(SinkUnavailableError):
                OtlpSink(url, tls=files).send([])


def test_strict_readers_accept_them(tmp_path: Path) -> None:
    """They hold every extension that newer Pythons insist on."""
    make(tmp_path)
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt"]
        + [f"{who}.crt" for who in ("collector", "service", "worker")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_each_is_made_once(tmp_path: Path) -> None:
    """A second run changes nothing, and one that was removed comes anew, of the same authority."""
    first = make(tmp_path / "tls")
    assert first == make(tmp_path / "tls")
    (tmp_path / "tls" / "worker.crt").unlink()
    second = make(tmp_path / "tls")
    assert {"worker.crt", "worker.key"} == {name for name in first if first[name] != second[name]}
    ssl.create_default_context().load_cert_chain(
        tmp_path / "tls" / "worker.crt", tmp_path / "tls" / "worker.key"
    )


def test_others_on_the_machine_cannot_reach_the_keys(tmp_path: Path) -> None:
    """The directory is closed, and the authority's key is its owner's alone."""
    names = make(tmp_path / "tls").keys()
    modes = {name: stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) for name in names}
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    assert 0o400 == modes["ca.key"]
    assert "*\n" == (tmp_path / "tls" / ".gitignore").read_text(encoding="ascii")


def test_compose_asks_for_what_it_makes(tmp_path: Path) -> None:
    """Every file of the overlay is there after one run, and the authority's key is not in it."""
    asked = {Path(secret["file"]) for secret in COMPOSE["secrets"].values()}
    assert {Path("deploy/secrets/tls")} == {path.parent for path in asked}
    names = {path.name for path in asked}
    assert {"ca.key", ".gitignore"} == make(tmp_path / "tls").keys() - names


def test_compose_requires_every_certificate() -> None:
    """The collector reads the overlay before that of a backend, and everybody says https."""
    base = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    services = COMPOSE["services"]
    command = base["services"]["collector"]["command"]
    inserted = [*command[:2], "--config", "/etc/otelcol/tls.yaml", *command[2:]]
    assert inserted == services["collector"]["command"]
    for who in ("service", "worker"):
        before, after = base["services"][who]["environment"], services[who]["environment"]
        for name in ("AUDITSPAN_AUDIT_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
            assert before[name].replace("http://", "https://") == after[name]
    others = {
        name
        for name in base["services"]
        if "OTEL_EXPORTER_OTLP_ENDPOINT" in str(base["services"][name])
    }
    assert {"service", "worker"} == others
