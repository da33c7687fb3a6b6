"""docs/how-to/audit-your-own-application.md, done as it says, with a real collector."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from support.collector import bodies, collector_binary, run_collector
from support.program import Program
from support.relaying import wait_for
from support.running import AUDITSPAN, auditspan, clean_environment

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "audit-your-own-application.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
A_REQUEST = """
import nightly
from web import app
print(app.test_client().post("/customers", data={"name": "max"}, headers={"X-User": "9"}).status)
"""
UNDO = """
from datetime import datetime, timezone
from auditspan import Actor, audit_context
from shop import Customer, Session, trail

def undo():
    with audit_context(actor=Actor.system("undo")), Session.begin() as session:
        trail.revert(session, trail.history(session, Customer, 2)[-1])

for change in (lambda: None, undo, undo):
    change()
    with Session() as session:
        found = trail.as_of(session, Customer, 2, datetime.now(timezone.utc))
        print(found and found["name"])
"""
# A short script leaves the pool's connections to the end of the process, as most do.
PYTHON = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning"]
EVENTS = ["customer.create", "customer.create"]


class Place:
    """A directory with the files of the page, each named by its first line, and a database."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.environ = {
            **clean_environment(),
            "DATABASE_URL": url,
            "AUDITSPAN_APP": "shop:trail",
            "AUDITSPAN_COLLECTOR_FILES": str(directory / "collector"),
        }
        self.url = url
        for block in BLOCKS:
            (directory / block.partition("\n")[0].removeprefix("# ")).write_text(block)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            command,
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def python(self, *arguments: str | Path) -> str:
        """Return the output of Python, which succeeds without a warning."""
        done = self.run(*PYTHON, *arguments)
        assert (0, "") == (done.returncode, done.stderr)
        return done.stdout

    def command(self, *arguments: str, code: int = 0) -> str:
        """Return the output of a command that ends with this code."""
        done = self.run(AUDITSPAN, *arguments)
        assert code == done.returncode, done.stdout + done.stderr
        return done.stdout

    def work(self) -> None:
        """Run the worker until it has delivered everything to a real collector."""
        with run_collector(collector_binary(), self.directory) as collector:
            worker = Program(
                [AUDITSPAN, "worker"],
                environ=self.environ | {"AUDITSPAN_AUDIT_ENDPOINT": collector.audit_endpoint},
                log=self.directory / "worker.log",
                directory=self.directory,
            )
            worker.start()
            try:
                wait_for(lambda: len(self.delivered()) > len(EVENTS))  # with a checkpoint
            finally:
                assert 0 == worker.stop()
        assert ["worker running, sink otlp", "stopping"] == [
            line for line in worker.log.read_text().splitlines() if "WARNING" not in line
        ]

    def delivered(self) -> list[str]:
        """Return the bodies that the collector has written."""
        return bodies(self.directory / "collector" / "audit" / "audit.jsonl")


# tests/documents follows the page on SQLite too.
@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(tmp_path, f"sqlite:///{tmp_path / 'shop.db'}")
    return Place(tmp_path, request.getfixturevalue("postgres_url"))


def change_without_the_trail(url: str) -> None:
    """Change a table as its owner can: without the triggers that record it."""
    engine = create_engine(url)
    change = "UPDATE customer SET name = 'nobody'"
    triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'customer'"
    if engine.dialect.name == "postgresql":
        statements = ["ALTER TABLE customer DISABLE TRIGGER USER", change]
    else:
        with engine.connect() as connection:
            names = connection.scalars(text(triggers)).all()
        statements = [*(f'DROP TRIGGER "{name}"' for name in names), change]
    with closing(engine.raw_connection()) as raw:
        cursor = raw.cursor()
        for statement in statements:
            cursor.execute(statement)
        raw.commit()
    engine.dispose()


def test_page_is_short() -> None:
    """It has at most 40 lines of code, in at most three files."""
    lines = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
    assert (3, True) == (len(BLOCKS), len(lines) <= 40 + len(BLOCKS)), len(lines)  # and the names


def test_page_is_true(place: Place) -> None:
    """Followed from top to bottom, its commands find nothing, and then find a change."""
    made = place.command("init")
    assert made.startswith("created   MAC key, signing key, tables\n")
    keys = place.directory / ".auditspan" / "keys"
    assert {0} == {path.stat().st_mode & 0o077 for path in keys.iterdir()}
    assert "201 CREATED\n" == place.python("-c", A_REQUEST)
    place.work()
    verified = place.command("verify", "--state", "--witness", "collector/audit")
    assert verified.startswith("2 rows, 2 sealed, ")
    assert verified.endswith("the tables match the trail\n")
    assert "2 rows, 2 found, 0 duplicates\nreconciled\n" == place.command("reconcile")
    assert "customer.create  by import" in place.command("history", "customer", "1")
    (public,) = re.findall("^public +([^ ]+)", made, re.MULTILINE)
    independent = ROOT / "docs" / "verify_independently.py"
    place.python(independent, "--public-key", public, "collector/audit/audit.jsonl")

    assert ["max", "None", "max"] == place.python("-c", UNDO).split()
    assert place.command("verify", "--state").endswith("the tables match the trail\n")
    change_without_the_trail(place.url)
    assert "the tables do NOT match the trail" in place.command("verify", "--state", code=1)


def test_application_is_refused_by_the_commands_of_the_service(tmp_path: Path) -> None:
    """Without `--app` a command does nothing but name the page, and an upgrade neither."""
    place = Place(tmp_path, f"sqlite:///{tmp_path / 'shop.db'}")
    place.command("init")
    environ = {"AUDITSPAN_DATABASE_URL": place.url, "AUDITSPAN_DATA_DIR": str(tmp_path / "data")}
    for arguments in (("worker",), ("db", "upgrade")):
        done = auditspan(*arguments, **environ)
        assert (2, True) == (done.returncode, "audit-your-own-application.md" in done.stderr)
    engine = create_engine(place.url)
    with engine.connect() as connection:
        tables = connection.execute(text("SELECT name FROM sqlite_master WHERE name = 'users'"))
        assert [] == tables.all()
    engine.dispose()
