"""The pytest plugin, in a project of its own: that of docs/how-to/test-your-application.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.collector import collector_binary

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "how-to" / "test-your-application.md"
PLUGIN = "auditspan.testing.plugin"
COMMAND = ["-W", "error", "-m", "pytest", "-W", "error", "-p", "no:cacheprovider"]
MORE_TESTS = """
import pytest
from auditspan.telemetry.span_events import TelemetryErrors
from auditspan.errors import MissingActorError
from shop import Order, Session, place

@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.usefixtures("audit_telemetry_errors")
def test_each_test_begins_with_nothing(audit_events, turn):
    assert TelemetryErrors.raised
    assert [] == audit_events
    assert 1 == place(7, "tea")
    assert ["order.create"] == audit_events.actions

def test_off_again():
    assert not TelemetryErrors.raised

def test_the_actor_is_a_user_unless_another_is_given(audit_actor, audit_events):
    with Session.begin() as session:
        session.add(Order(item="tea"))
    assert ["user/test"] == [event.by for event in audit_events]

def test_the_actor_ends_with_its_test():
    with pytest.raises(MissingActorError), Session.begin() as session:
        session.add(Order(item="tea"))
"""


def blocks() -> list[str]:
    """The Python of the page."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with the page's files, each named by its first line."""
    for block in blocks():
        name = re.match(r"# (\w+\.py)\n", block)
        if name:
            (tmp_path / name[1]).write_text(block)
    return tmp_path


def run_pytest(directory: Path) -> str:
    """What pytest says of the tests in a directory; a warning is an error."""
    done = subprocess.run(
        [sys.executable, *COMMAND], cwd=directory, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "installed",
    [
        pytest.param(False, id="by name", marks=pytest.mark.slow),
        pytest.param(True, id="by entry point as well"),
    ],
)
def test_the_page_is_true(
    project: Path, monkeypatch: pytest.MonkeyPatch, *, installed: bool
) -> None:
    """Its tests pass without a warning, also with a collector and the plugin as an entry point."""
    (project / "test_more.py").write_text(MORE_TESTS)
    monkeypatch.setenv("OTELCOL_BIN", "")
    if installed:
        monkeypatch.setenv("OTELCOL_BIN", str(collector_binary()))
        plugin = project / "site" / "plugin-1.dist-info"
        plugin.mkdir(parents=True)
        (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
        (plugin / "entry_points.txt").write_text(f"[pytest11]\n{PLUGIN} = {PLUGIN}\n")
        monkeypatch.setenv("PYTHONPATH", str(plugin.parent), prepend=os.pathsep)
    said = run_pytest(project)
    assert re.search(r"\b13 passed in", said), said


@pytest.mark.parametrize(
    "fixture", ["audit_trail", pytest.param("audit_bind", marks=pytest.mark.slow)]
)
def test_missing_fixture_is_named(project: Path, fixture: str) -> None:
    """Without a fixture of the application, the error names it and what it is to return."""
    conftest = project / "conftest.py"
    conftest.write_text(conftest.read_text().replace(f"def {fixture}(", "def another("))
    assert f"define a fixture `{fixture}` in conftest.py that returns" in " ".join(
        run_pytest(project).split()
    )


def test_the_recipe_for_flask_is_the_one_that_is_tested() -> None:
    """The page shows the fixture of the application under tests/apps."""
    [recipe] = [block for block in blocks() if "db.engines" in block]
    tested = (ROOT / "tests" / "apps" / "test_accounts.py").read_text(encoding="utf-8")
    lines = [line.strip() for line in recipe.splitlines()[2:]]  # behind the name
    body = [line.partition("  #")[0].strip() for line in tested.splitlines()]
    starts = [number for number, line in enumerate(body) if line == lines[0]]
    assert lines in [body[start : start + len(lines)] for start in starts]
