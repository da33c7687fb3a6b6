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
from support.running import auditspan, clean_environment

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "audit-your-own-application.md").read_text(encoding="utf-8")
A_REQUEST = """
from web import app
print(app.test_client().post("/customers", data={"name": "max"}, headers={"X-User": "9"}).status)
"""
# A short script leaves the pool's connections to the end of the process, as most do.
PYTHON = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning"]
EVENTS = ["customer.create", "customer.update", "customer.create"]


class Place:
    """A directory with the files of the page, each named by its first line, and a database."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self.environ = {**clean_environment(), "DATABASE_URL": url}
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            (directory / block.partition("\n")[0].removeprefix("# ")).write_text(block)

    def python(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a file of the page to its end; a warning is an error."""
        return subprocess.run(
            [*PYTHON, *arguments],
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def said(self, *arguments: str | Path) -> str:
        """What it says, where it ends well."""
        done = self.python(*arguments)
        assert (0, "") == (done.returncode, done.stderr)
        return done.stdout

    def work(self) -> None:
        """Have the worker of the page deliver everything to a collector."""
        with run_collector(collector_binary(), self.directory) as collector:
            worker = Program(
                [*PYTHON, self.directory / "audit_worker.py"],
                environ=self.environ | {"AUDIT_ENDPOINT": collector.audit_endpoint},
                log=self.directory / "worker.log",
                directory=self.directory,
            )
            worker.start()
            try:
                wait_for(lambda: len(self.delivered()) > len(EVENTS))  # with a checkpoint
            finally:
                assert 0 == worker.stop()
        assert "" == worker.log.read_text()

    def delivered(self) -> list[str]:
        """The bodies that the collector has written."""
        return bodies(self.directory / "collector" / "audit" / "audit.jsonl")


@pytest.fixture(params=["sqlite", "postgresql"])
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


def test_the_page_is_true(place: Place) -> None:
    """Followed from top to bottom, its last command says yes to everything, and to no lie."""
    for file in ("make_keys.py", "make_tables.py", "nightly.py"):
        place.said(file)
    assert "201 CREATED\n" == place.said("-c", A_REQUEST)
    place.work()
    expected = PAGE.partition("$ python audit_verify.py\n")[2].partition("```")[0]
    assert expected.replace("2", "3") == place.said("audit_verify.py")
    public = (place.directory / "keys" / "public.key").read_text().strip()
    independent = ROOT / "docs" / "verify_independently.py"
    place.said(independent, "--public-key", public, "collector/audit/audit.jsonl")

    change_without_the_trail(place.url)
    done = place.python("audit_verify.py")
    assert 1 == done.returncode
    assert "the tables match the trail: False" in done.stdout


def test_keys_are_made_once(tmp_path: Path) -> None:
    """Nobody but their owner can read them, and a second run does not replace them."""
    place = Place(tmp_path, "sqlite://")
    place.said("make_keys.py")
    keys = tmp_path / "keys"
    before = {path.name: (path.read_text(), path.stat().st_mode & 0o077) for path in keys.iterdir()}
    assert {"mac.key", "signing.key", "public.key"} == before.keys()
    assert {0} == {rights for _, rights in before.values()}
    assert 1 == place.python("make_keys.py").returncode
    assert before == {
        path.name: (path.read_text(), path.stat().st_mode & 0o077) for path in keys.iterdir()
    }


@pytest.mark.parametrize("command", ["worker", "verify"])
def test_the_command_is_for_the_service(tmp_path: Path, command: str) -> None:
    """On the database of an application it does nothing but name the page, nor does an upgrade."""
    place = Place(tmp_path, f"sqlite:///{tmp_path / 'shop.db'}")
    for file in ("make_keys.py", "make_tables.py"):
        place.said(file)
    environ = {"AUDITSPAN_DATABASE_URL": place.url, "AUDITSPAN_DATA_DIR": str(tmp_path / "data")}
    for arguments in ((command,), ("db", "upgrade")):
        done = auditspan(*arguments, **environ)
        assert (2, True) == (done.returncode, "audit-your-own-application.md" in done.stderr)
    engine = create_engine(place.url)
    with engine.connect() as connection:
        tables = connection.execute(text("SELECT name FROM sqlite_master WHERE name = 'users'"))
        assert [] == tables.all()
    engine.dispose()
