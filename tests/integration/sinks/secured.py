"""The real collector with TLS and client certificates, by the overlay that is deployed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from auditspan.delivery.otlp_sink import TlsFiles
from auditspan_service.collector import Collector
from integration.sinks.certificates import Authority
from support.collector import run_collector

ROOT = Path(__file__).parents[3]
OVERLAY = ROOT / "deploy" / "tls" / "collector.yaml"


@dataclass(frozen=True, kw_only=True)
class Secured:
    """A collector that asks for a certificate of its authority."""

    collector: Collector
    authority: Authority
    grpc_port: int

    @property
    def audit_endpoint(self) -> str:
        """Its audit receiver."""
        return self.collector.audit_endpoint.replace("http://", "https://")

    @property
    def otlp_endpoint(self) -> str:
        """Its receiver of traces, logs and metrics."""
        return self.collector.otlp_endpoint.replace("http://", "https://")

    @property
    def ports(self) -> dict[str, int]:
        """The port of every receiver."""
        http, audit = (urlsplit(url).port for url in (self.otlp_endpoint, self.audit_endpoint))
        assert http is not None
        assert audit is not None
        return {"grpc": self.grpc_port, "http": http, "audit": audit}


@contextmanager
def secured_collector(binary: Path, directory: Path) -> Iterator[Secured]:
    """The collector with the overlay, and a certificate of an authority of its own."""
    authority = Authority(directory=directory / "trusted")
    certificate, key = authority.issue("collector", server=True)
    files = TlsFiles(
        certificate=authority.certificate, client_certificate=certificate, client_key=key
    )
    with run_collector(with_overlay(binary, files, directory), directory) as collector:
        port = int((directory / "grpc-port").read_text(encoding="ascii"))
        yield Secured(collector=collector, authority=authority, grpc_port=port)


def with_overlay(binary: Path, files: TlsFiles, directory: Path) -> Path:
    """The collector with the overlay as its second configuration, and with these files."""
    wrapper = directory / "otelcol"
    wrapper.write_text(
        "#!/bin/sh\n"
        f"export OTELCOL_TLS_CERT={shlex.quote(str(files.client_certificate))}\n"
        f"export OTELCOL_TLS_KEY={shlex.quote(str(files.client_key))}\n"
        f"export OTELCOL_TLS_CLIENT_CA={shlex.quote(str(files.certificate))}\n"
        f'[ "$1" = --config ] && set -- "$@" --config {shlex.quote(str(OVERLAY))}\n'
        f'echo "$OTELCOL_GRPC_PORT" > {shlex.quote(str(directory / "grpc-port"))}\n'
        f'exec {shlex.quote(str(binary))} "$@"\n',
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    return wrapper
