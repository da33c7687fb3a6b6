"""gunicorn's settings for the service, in a running worker."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from integration.test_telemetry_lifecycle import get
from support.patience import PATIENCE
from support.ports import free_port
from support.running import clean_environment

CONFIGURATION = "python:auditspan_service.server.gunicorn_conf"
APPLICATION = """
import gc
import flask

app = flask.Flask(__name__)
frozen = gc.get_freeze_count()  # before the worker is initialised

@app.get("/")
def count():
    return [frozen, gc.get_freeze_count(), gc.get_threshold()[0]]
"""


def test_loaded_application_is_not_searched_for_garbage(tmp_path: Path) -> None:
    """A worker freezes what it has loaded, and collects the garbage of requests less often."""
    (tmp_path / "counting.py").write_text(APPLICATION, encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", CONFIGURATION, "counting:app"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [*command, "--chdir", str(tmp_path), "-b", f"127.0.0.1:{port}"],
            env=clean_environment(),
            stderr=log,
        ) as server,
    ):
        answer = get(f"http://127.0.0.1:{port}/")
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)

    before, frozen, threshold = map(int, answer.strip("[]\n").split(","))
    assert 0 == before
    assert frozen > 10_000, (tmp_path / "log").read_text(encoding="utf-8")
    assert 10_000 == threshold
