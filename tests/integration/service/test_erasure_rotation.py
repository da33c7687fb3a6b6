"""`auditspan keys rotate-erasure` and `rewrap`: no value is lost, and an old key can go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import event, text

from auditspan.storage.keys import load_or_create_erasure_keys
from auditspan.trail.erasure import rewrap, rewrap_subject_keys
from auditspan_service.cli import main
from auditspan_service.config import Settings
from support.service import RunningService, running_service

NAMES = [f"lee-{number}" for number in range(7)]


def run(settings: Settings, *arguments: str) -> Result:
    """Run a command on the data and the database of these settings."""
    environ = {
        "AUDITSPAN_DATA_DIR": str(settings.data_dir),
        "AUDITSPAN_DATABASE_URL": settings.database_url,
    }
    return CliRunner().invoke(main, arguments, env=environ, prog_name="auditspan")


def printed(settings: Settings, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """Return the object that a command prints."""
    done = run(settings, *arguments, "--json")
    assert done.exit_code == exit_code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def shown(service: RunningService) -> list[str]:
    """Return the names in the events of users that were created, without the caller."""
    created = [one for one in service.bodies() if one["action"] == "user.create"]
    return [one["changes"]["username"]["new"] for one in created[1:]]


def used_keys(service: RunningService) -> set[str]:
    """Return the ids of the erasure keys that keys of subjects are encrypted with."""
    query = text("SELECT DISTINCT erasure_key_id FROM audit_subject_key")
    with service.services.database.engine.connect() as connection:
        return {*connection.execute(query).scalars()}


def test_values_are_shown_before_during_and_after_a_rotation(settings: Settings) -> None:
    """Finally the old key is not needed for any value."""
    (first,) = load_or_create_erasure_keys(settings.erasure_key_file, create=False)
    with running_service(settings) as service:
        kim = service.caller()
        for name in NAMES[:3]:
            kim.create(username=name)
        rotated = printed(settings, "keys", "rotate-erasure")
        assert ([first.key_id], {first.key_id}) == (rotated["previous"], used_keys(service))
        kim.create(username=NAMES[3])
        assert NAMES[:4] == shown(service)
    with running_service(settings) as service:
        service.caller(username="max").create(username=NAMES[4])
        assert {first.key_id, rotated["erasure_key_id"]} == used_keys(service)
        done = printed(settings, "keys", "rewrap")
        assert (rotated["erasure_key_id"], 0) == (done["erasure_key_id"], done["unreadable"])
        assert done["rewrapped"] > 0
        assert {rotated["erasure_key_id"]} == used_keys(service)
        assert 0 == printed(settings, "keys", "rewrap")["rewrapped"]
    lines = settings.erasure_key_file.read_text().splitlines(keepends=True)
    settings.erasure_key_file.write_text(lines[0])
    with running_service(settings) as service:
        assert [*NAMES[:4], "max", NAMES[4]] == shown(service)


def test_key_that_is_missing_is_reported(settings: Settings) -> None:
    """The command changes nothing that it cannot read, and exits with 1."""
    with running_service(settings) as service:
        service.caller().create(username="lee")
        (first,) = used_keys(service)
        run(settings, "keys", "rotate-erasure")
        lines = settings.erasure_key_file.read_text().splitlines(keepends=True)
        settings.erasure_key_file.write_text(lines[0])
        done = printed(settings, "keys", "rewrap", exit_code=1)
        assert (0, True) == (done["rewrapped"], done["unreadable"] > 0)
        assert {first} == used_keys(service)
        assert "their erasure key is not there" in run(settings, "keys", "rewrap").output


def test_interrupted_run_is_resumed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has done before stays done, and the next run does the rest."""
    monkeypatch.setattr(rewrap, "_BATCH", 2)
    with running_service(settings) as service:
        kim = service.caller()
        for name in NAMES:
            kim.create(username=name)
        run(settings, "keys", "rotate-erasure")
        engine, tables = service.services.database.engine, service.services.trail.tables
        keys = load_or_create_erasure_keys(settings.erasure_key_file, create=False)
        updates: list[str] = []

        def interrupt(*given: Any) -> None:
            updates.extend([given[2]] if given[2].startswith("UPDATE audit_subject_key") else [])
            if len(updates) == 6:
                raise KeyboardInterrupt

        event.listen(engine, "before_cursor_execute", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rewrap_subject_keys(engine, tables, keys)
        event.remove(engine, "before_cursor_execute", interrupt)
        assert 2 == len(used_keys(service))
        rest = rewrap_subject_keys(engine, tables, keys)
        every = rest.rewrapped + 4
        with engine.connect() as connection:
            count = connection.execute(text("SELECT count(*) FROM audit_subject_key")).scalar_one()
        assert (count, {keys[0].key_id}) == (every, used_keys(service))


def test_rotation_without_a_key_says_how_to_create_one(tmp_path: Path) -> None:
    """No file is made."""
    for command in ("rotate-erasure", "rewrap"):
        done = CliRunner().invoke(
            main, ["keys", command], env={"AUDITSPAN_DATA_DIR": str(tmp_path)}
        )
        assert (2, "", []) == (done.exit_code, done.stdout, list(tmp_path.iterdir()))
        assert "auditspan keys init" in done.stderr


def test_rotation_names_both_keys_and_shows_no_secret(settings: Settings) -> None:
    """The sentences say what to do next."""
    (first,) = load_or_create_erasure_keys(settings.erasure_key_file, create=False)
    done = run(settings, "keys", "rotate-erasure")
    new, kept = load_or_create_erasure_keys(settings.erasure_key_file, create=False)
    assert (0, first) == (done.exit_code, kept)
    assert {new.key_id, first.key_id} <= {*done.stdout.replace(".", " ").split()}
    assert "keys rewrap" in done.stdout
    assert new.secret.hex() not in done.output
