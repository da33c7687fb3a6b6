"""`auditspan tour --url`: the story told to a service that runs already."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditspan_service.cli import main
from support.postgres import empty_database
from support.running import Up, auditspan


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Settings of a service that writes its telemetry to files, as the tour beside it then does."""
    files = {"AUDITSPAN_SINK": "file"}
    if request.param == "sqlite":
        yield files
        return
    with empty_database() as url:
        yield {**files, "AUDITSPAN_DATABASE_URL": url, "AUDITSPAN_ENV": "development"}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]) -> Iterator[Up]:
    """A running service."""
    with Up(tmp_path_factory.mktemp("up") / "data", environ=settings) as running:
        yield running


@pytest.fixture(scope="module")
def environ(up: Up, settings: dict[str, str]) -> dict[str, str]:
    """Settings of a command beside it."""
    return {**settings, "AUDITSPAN_DATA_DIR": str(up.said.audit_files.parents[1])}


def tour(up: Up, environ: dict[str, str], *arguments: str) -> dict[str, object]:
    """Return the report of the tour of this service; its exit code is 0."""
    done = CliRunner().invoke(
        main, ["tour", "--json", "--url", up.said.url, *arguments], env=environ
    )
    assert done.exit_code == 0, done.output
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_every_step_has_the_expected_result(up: Up, environ: dict[str, str]) -> None:
    """Every step has the expected result, also those that must fail."""
    require_whole(tour(up, environ))


def require_whole(said: dict[str, object]) -> None:
    """Every step has a row, a span event and a log record."""
    assert said["ok"] is True
    assert (said["rows"], said["span_events"], said["log_records"]) == (14, 14, 14)
    assert said["tampered"] is None


def test_the_tour_makes_its_key_and_revokes_it(up: Up, environ: dict[str, str]) -> None:
    """The key that it creates is revoked at its end; with --key it creates none."""
    made = up.client.post("/v1/users", json={"username": "somebody"})
    assert made.status_code == 201
    before = keys_of_the_tour(environ)
    require_whole(tour(up, environ, "--key", up.key))
    assert before == keys_of_the_tour(environ)
    require_whole(tour(up, environ))
    *earlier, own, reader = keys_of_the_tour(environ)
    assert before == earlier
    assert None not in (own["revoked_at"], reader["revoked_at"])


def test_unreachable_service_is_reported_in_a_sentence(tmp_path: Path) -> None:
    """Exit code 2, and what to look at."""
    done = auditspan("tour", "--url", "http://127.0.0.1:9", AUDITSPAN_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "No auditspan service is ready at http://127.0.0.1:9" in done.stderr


@pytest.mark.parametrize("has_mark", [True, False], ids=["container", "host"])
def test_tour_marks_addresses_inside_a_container(
    up: Up,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    has_mark: bool,
) -> None:
    """Addresses and paths of a container are marked as such, and those of a host are not."""
    mark = tmp_path / ".dockerenv"
    if has_mark:
        mark.touch()
    monkeypatch.setattr(import_module("auditspan_service.tour.report"), "_CONTAINER_MARKS", (mark,))
    done = CliRunner().invoke(main, ["tour", "--url", up.said.url], env=environ)
    lines = done.stdout.splitlines()
    inside = " (inside this container)" if has_mark else ""
    assert f"The service is {up.said.url}{inside}." == lines[0]
    assert f"Where to look next{inside}:" in lines
    assert has_mark == any("docker compose exec" in line for line in lines)


def keys_of_the_tour(environ: dict[str, str]) -> list[dict[str, object]]:
    """The keys that the tour made, without their last uses, which are written later."""
    listed = CliRunner().invoke(main, ["keys", "list", "--json"], env=environ).stdout
    keys = [json.loads(line) | {"last_used_at": None} for line in listed.splitlines()]
    return [key for key in keys if key["username"] == "auditspan-tour"]
