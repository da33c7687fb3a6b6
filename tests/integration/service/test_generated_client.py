"""A client that is generated from the description, as the page about it prints it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from subprocess import run

from support.running import clean_environment
from support.served import served
from support.service import running_service, settings_at

PAGE = Path(__file__).parents[3] / "docs/how-to/generate-a-client.md"


def printed(language: str) -> str:
    """The first block in this language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def output_of(command: list[str], folder: Path, environ: dict[str, str]) -> str:
    """What a command prints, which has to succeed."""
    done = run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_generated_client_records_and_searches(tmp_path: Path, sqlite_url: str) -> None:
    """Everything in the description can be generated; the client records an event and finds it."""
    (tmp_path / "client.yaml").write_text(printed("yaml"), encoding="utf-8")
    (tmp_path / "example.py").write_text(printed("python"), encoding="utf-8")
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with running_service(settings_at(tmp_path / "data", sqlite_url)) as service:
        key = service.issue("audit:write", "audit:read", username="billing").text
        with served(service.app) as url:
            environ = {**clean_environment(), "PATH": tools}
            environ |= {"AUDITSPAN_URL": url, "AUDITSPAN_KEY": key, "PYTHONPATH": str(tmp_path)}
            generated = output_of(["bash", "-ec", printed("bash")], tmp_path, environ)
            assert "WARNING" not in generated
            said = output_of([sys.executable, "example.py"], tmp_path, environ)
        (body,) = [one for one in service.bodies() if one["action"] == "invoice.sent"]
    assert f"invoice.sent kim\n{body['event_id']} {body['occurred_at']}\n" == said
