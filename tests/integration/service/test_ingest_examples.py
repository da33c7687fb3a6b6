"""The clients on the page about recording from another service, each as it is printed there."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run

import pytest

from auditspan_service.config import Settings
from support.served import served
from support.service import RunningService, running_service, settings_at

PAGE = Path(__file__).parents[3] / "docs/how-to/record-from-another-service.md"
CLIENTS = {
    "bash": ("bash", "example.sh"),
    "python": (sys.executable, "example.py"),
    "javascript": ("node", "example.mjs"),
    "go": ("go run", "example.go"),
}
COMPILED = pytest.param(["go"], marks=pytest.mark.slow)  # for half a minute, the first time


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    """The service on one database: the clients do not see which."""
    return settings_at(tmp_path / "data", sqlite_url)


@pytest.fixture
def url(settings: Settings) -> Iterator[tuple[str, RunningService]]:
    """The service on a port."""
    with running_service(settings) as service, served(service.app) as address:
        yield address, service


def example(language: str) -> str:
    """The first client in this language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize("languages", [["bash", "python", "javascript"], COMPILED])
def test_printed_clients_record_their_events_once(
    url: tuple[str, RunningService], tmp_path: Path, languages: list[str]
) -> None:
    """Each client on this machine runs twice, and its event is in the trail, in the given trace."""
    address, service = url
    key = service.issue("audit:write", username="billing").text
    environ = os.environ | {"AUDITSPAN_URL": address, "AUDITSPAN_KEY": key, "GOFLAGS": "-mod=mod"}
    clients = {
        language: (CLIENTS[language][0].split(), tmp_path / CLIENTS[language][1])
        for language in languages
        if shutil.which(CLIENTS[language][0].split()[0])
    }
    failures = []
    for language, (command, path) in clients.items():
        path.write_text(example(language), encoding="utf-8")
        for _ in range(2):
            done = run(
                [*command, path],
                env=environ,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            failures += [(language, done.stderr)] if done.returncode else []
    assert [] == failures
    found = [one for one in service.bodies() if one["action"] == "invoice.sent"]
    assert ["0af7651916cd43dd8448eb211c80319c"] * len(clients) == [one["trace_id"] for one in found]
    assert ({"python"} & {*languages}) <= clients.keys()
