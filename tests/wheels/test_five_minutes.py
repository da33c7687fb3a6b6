"""From an empty environment to a delivered trail of a new Flask-SQLAlchemy application."""

from __future__ import annotations

import re
import subprocess
import time

from support.collector import bodies, collector_binary, run_collector
from support.ports import free_port
from support.running import clean_environment
from wheels.conftest import Install
from wheels.environment import ROOT

PAGE = ROOT / "docs" / "how-to" / "audit-a-flask-application.md"
TYPED = """\
export FLASK_APP=blog FLASK_SQLALCHEMY_DATABASE_URI=sqlite:///blog.db
flask audit init
flask run --port {port} &
curl --silent --retry 50 --retry-delay 1 --retry-connrefused -d title=First localhost:{port}/posts
flask audit worker &
until flask audit reconcile; do sleep 0.2; done
flask audit verify --state --witness .auditspan/collector/audit
flask audit history post 1
"""
"""After `python -m venv`, `pip install` and the start of the collector: eleven commands in all."""


def test_new_application_has_a_delivered_trail_in_five_minutes(install: Install) -> None:
    """Twelve commands or fewer, a real server, worker and collector, and every check passes."""
    began, environment = time.monotonic(), install("cli,flask", "flask-sqlalchemy")
    directory = environment.directory
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (directory / "blog.py").write_text(block, encoding="utf-8")
    with run_collector(collector_binary(), directory / ".auditspan") as collector:
        variables = {
            **clean_environment(),
            "PATH": f"{environment.programs}:/usr/bin:/bin",
            "FLASK_AUDITSPAN_AUDIT_ENDPOINT": collector.audit_endpoint,
        }
        done = subprocess.run(
            ["/bin/bash", "-ec", f"trap 'kill $(jobs -p)' EXIT\n{TYPED.format(port=free_port())}"],
            cwd=directory,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    assert 0 == done.returncode, done.stdout + done.stderr
    for shown in ("reconciled\n", "the tables match the trail\n", "post.create  by anonymous"):
        assert shown in done.stdout, done.stdout
    assert 1 <= len(bodies(directory / ".auditspan" / "collector" / "audit" / "audit.jsonl"))
    assert (True, True) == (len(TYPED.splitlines()) + 3 <= 12, time.monotonic() - began < 300)
