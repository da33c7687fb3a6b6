"""The stack of compose.yaml with deploy/tls/compose.yaml: everybody meets with certificates."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from containers.stack import ROOT, Stack

pytestmark = pytest.mark.timeout(1800)

OVERLAY = ROOT / "deploy/tls/compose.yaml"

#: Prints, for each receiver and way of asking, what came of it.
ASK = """
import ssl, socket
def ask(port, context):
    try:
        with socket.create_connection(("collector", port), timeout=60) as plain:
            with context.wrap_socket(plain, server_hostname="collector") as secure:
                secure.sendall(b"GET /v1/audit HTTP/1.1\\r\\nHost: collector\\r\\n\\r\\n")
                return "answered" if secure.recv(1) else "closed"
    except ssl.SSLError as error:
        return "refused"
for port in (4318, 4319):
    context = ssl.create_default_context(cafile="/run/secrets/tls_ca")
    print(port, "without", ask(port, context))
    context.load_cert_chain("/run/secrets/tls_certificate", "/run/secrets/tls_private")
    print(port, "with", ask(port, context))
"""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """As the how-to has it, but for where the certificates lie."""
    directory = tmp_path_factory.mktemp("compose-tls")
    subprocess.run([ROOT / "deploy/make-certificates", directory / "tls"], check=True)
    named = yaml.safe_load(OVERLAY.read_text(encoding="utf-8"))["secrets"]
    here = {
        name: {"file": str(directory / "tls" / Path(secret["file"]).name)}
        for name, secret in named.items()
    }
    places = directory / "places.yaml"
    places.write_text(yaml.safe_dump({"secrets": here}), encoding="utf-8")
    stack = Stack(directory, OVERLAY, places, name="auditspan-tls")
    try:
        stack.up()
        yield stack
    finally:
        stack.down("--volumes")


def test_everything_arrives(secured: Stack) -> None:
    """The tour finds every row, span event and log record, and doctor nothing that is wrong."""
    assert secured.report("service", "tour")["ok"] is True
    for service in ("service", "worker"):
        kinds = {one["kind"] for one in secured.report(service, "doctor")["findings"]}
        assert set() == kinds & {"collector", "tls"}


@pytest.mark.parametrize("service", ["service", "worker"])
def test_collector_refuses_clients_without_a_certificate(secured: Stack, service: str) -> None:
    """With its own certificate each of them is let in, and without it is refused."""
    said = [line.split() for line in secured.python(service, ASK).splitlines()]
    expected = {"with": "answered", "without": "refused"}
    assert [expected[how] for _, how, _ in said] == [what for _, _, what in said]
    assert 4 == len(said)
