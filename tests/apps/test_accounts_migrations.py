"""The application on Flask-Migrate: the `flask db` commands, run for real on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from apps.accounts import create_app, db, trail
from auditspan.testing import captured

TESTS = Path(__file__).parents[1]
USER = {"username": "kim", "password": "planted-password"}


class Commands:
    """The `flask` command in a directory of its own; a warning is an error."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.migrations = directory / "migrations"

    def db(self, command: str, *arguments: str) -> str:
        """Run `flask db ...`; what it says."""
        done = self.run("db", command, "--directory", str(self.migrations), *arguments)
        assert 0 == done.returncode, done.stderr
        return done.stderr

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `flask ...`."""
        warnings = ["error", "ignore:'get_engine'", "ignore::ResourceWarning"]  # Flask-Migrate's
        options = [part for one in warnings for part in ("-W", one)]
        return subprocess.run(
            [sys.executable, *options, "-m", "flask", "--app", "apps.accounts", *arguments],
            cwd=TESTS,
            env={
                **os.environ,
                "FLASK_SQLALCHEMY_DATABASE_URI": self.url,
                "FLASK_SECRET_KEY": "tests",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def revisions(self) -> list[Path]:
        """The migrations that have been written."""
        return sorted((self.migrations / "versions").glob("*.py"))


@pytest.fixture
def commands(url: str, tmp_path: Path) -> Commands:
    """The commands, after `flask db init`."""
    made = Commands(url, tmp_path)
    made.db("init")
    return made


@pytest.mark.parametrize(
    "url", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], indirect=True
)
def test_flask_migrate_makes_the_tables_and_proposes_nothing_after(
    commands: Commands, url: str
) -> None:
    """`init`, `migrate`, `upgrade`, nothing edited; a second `migrate` finds no change."""
    commands.db("migrate", "--message", "first")
    [first] = commands.revisions
    commands.db("upgrade")
    said = commands.db("migrate", "--message", "second")
    assert "No changes in schema detected." in said
    assert [first] == commands.revisions
    commands.db("check")
    use(url)
    commands.db("downgrade", "base")
    engine = create_engine(url)
    assert ["alembic_version"] == inspect(engine).get_table_names()
    engine.dispose()


def use(url: str) -> None:
    """Write through the application, and try to change what it wrote."""
    app = create_app(SQLALCHEMY_DATABASE_URI=url, SECRET_KEY="tests")
    with app.app_context(), captured(trail, db.engine) as events:
        assert 201 == app.test_client().post("/users", data=USER).status_code
        with pytest.raises(IntegrityError, match="append-only"), db.engine.begin() as connection:
            connection.execute(text("UPDATE audit_event SET actor_id = 'x'"))
    assert ["user.create"] == events.actions
    with app.app_context():
        db.engine.dispose()
