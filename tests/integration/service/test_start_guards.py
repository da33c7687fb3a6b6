"""What serves or works starts on a database that guards the trail, and on no other."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from auditspan_service.cli import main
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from support.patience import PATIENCE
from support.ports import free_port
from support.postgres import migrated_database
from support.roles import Deployed, deployed_database
from support.running import AUDITSPAN, Up, clean_environment

OVERRIDE = "AUDITSPAN_ALLOW_UNGUARDED"


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    """The roles and rights of a deployment."""
    with deployed_database() as made:
        yield made


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Settings of processes on one machine, with their keys, and without the override."""
    environ = {
        "AUDITSPAN_DATA_DIR": str(tmp_path / "data"),
        "AUDITSPAN_SINK": "file",
        OVERRIDE: "0",
    }
    for command in (("keys", "init"), ("checkpoint", "--init")):
        assert run(*command, **environ).exit_code == 0
    return environ


def run(*arguments: str, **environ: str) -> Result:
    """A command in this process: starting Python takes longer than what it is to show."""
    return CliRunner().invoke(main, arguments, env=environ, prog_name="auditspan")


@contextmanager
def running(*arguments: str, environ: dict[str, str], log: Path) -> Iterator[None]:
    """A command that goes on until the block ends; it must end with 0."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [AUDITSPAN, *arguments],
            env={**clean_environment(), **environ},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE)
    assert (0, []) == (code, [line for line in log.read_text().splitlines() if "WARNING:" in line])


def eventually(client: httpx.Client, path: str, wanted: str) -> None:
    """Return when the answer contains this."""
    deadline = time.monotonic() + PATIENCE
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = client.get(path).text
            if wanted in last:
                return
        except httpx.TransportError as error:
            last = error
        time.sleep(0.1)
    pytest.fail(f"no {wanted!r} at {path}: {last}")


def test_deployed_roles_serve_and_work(
    deployed: Deployed, environ: dict[str, str], tmp_path: Path
) -> None:
    """With the rights of grants.sql a change is made, sealed and delivered, without a warning."""
    app = {**environ, "AUDITSPAN_DATABASE_URL": deployed.url("app")}
    worker = {**environ, "AUDITSPAN_DATABASE_URL": deployed.url("worker")}
    made = run("keys", "create", "--username", "kim", "--scope", "admin", **app)
    assert made.exit_code == 0, made.stderr
    port = free_port()
    with (
        running("worker", environ=worker, log=tmp_path / "worker.log"),
        running("serve", "--port", str(port), environ=app, log=tmp_path / "serve.log"),
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {made.stdout.split()[0]}"},
            trust_env=False,
            timeout=PATIENCE,
        ) as client,
    ):
        eventually(client, "/readyz", "ready")
        answer = client.post("/v1/users", json={"username": "lee"})
        assert 201 == answer.status_code
        eventually(client, "/v1/audit-events?action=user.create&limit=1", '"delivered":true')


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_superuser_is_refused(environ: dict[str, str], command: str) -> None:
    """On PostgreSQL whoever serves must not be able to change the trail."""
    with migrated_database() as url:
        done = run(command, **environ, AUDITSPAN_DATABASE_URL=url)
    assert (2, "") == (done.exit_code, done.stdout)
    assert "Nothing was started. The role " in done.stderr
    assert "is a superuser" in done.stderr


def test_a_role_whose_commits_can_be_lost_is_refused(
    deployed: Deployed, environ: dict[str, str]
) -> None:
    """Also where it is the role's own setting."""
    deployed.run("ALTER ROLE {worker} SET synchronous_commit = off")
    try:
        done = run("worker", **environ, AUDITSPAN_DATABASE_URL=deployed.url("worker"))
    finally:
        deployed.run("ALTER ROLE {worker} RESET synchronous_commit")
    assert 2 == done.exit_code
    assert "synchronous_commit is off" in done.stderr


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_database_without_the_schema_is_refused(environ: dict[str, str], command: str) -> None:
    """Where nothing can be looked at nothing is started, and the sentence says what to run."""
    done = run(command, **environ)
    assert (2, "") == (done.exit_code, done.stdout)
    assert "auditspan db upgrade" in done.stderr
    assert not list(Path(environ["AUDITSPAN_DATA_DIR"]).glob("*.db"))


def test_up_refuses_a_missing_trigger_without_the_override(tmp_path: Path) -> None:
    """On SQLite too; the override starts all the same, loudly."""
    data = tmp_path / "data"
    engine = make_engine(f"sqlite:///{data / 'auditspan.db'}")
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER audit_leaf_no_delete"))
    engine.dispose()
    settings = {"AUDITSPAN_SINK": "file"}
    refused = run("up", "--data", str(data), "--port", "0", **settings, **{OVERRIDE: "0"})
    assert 2 == refused.exit_code
    assert "The trigger audit_leaf_no_delete on audit_leaf is missing" in refused.stderr
    with Up(data, environ={**settings, OVERRIDE: "1"}) as up:
        assert 201 == up.client.post("/v1/users", json={"username": "kim"}).status_code
    said = (tmp_path / "data.err").read_text()
    assert "WARNING: The trigger audit_leaf_no_delete" in said
    assert f"WARNING: started anyway, because {OVERRIDE} is set" in said


@pytest.mark.parametrize("database", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"])
def test_up_works_as_the_owner(tmp_path: Path, database: str) -> None:
    """It makes the tables itself: on PostgreSQL it says that its role owns them, and starts."""
    settings = {"AUDITSPAN_SINK": "file", OVERRIDE: "0"}
    with migrated_database() as url:
        if database == "postgresql":
            settings["AUDITSPAN_DATABASE_URL"] = url
        with Up(tmp_path / "data", environ=settings) as up:
            assert 201 == up.client.post("/v1/users", json={"username": "kim"}).status_code
    said = (tmp_path / "data.err").read_text()
    assert ("is a superuser" in said) == (database == "postgresql")
    assert OVERRIDE not in said
