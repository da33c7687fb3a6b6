"""`auditspan demo`: an invented week in the service's own database."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from auditspan_service.cli import main
from support.migrated import migrated_sqlite

UNTIL = "2026-06-08T00:00"
WEEK = ["--rate", "6", "--days", "7", "--until", UNTIL]
DAY = ["--days", "1"]
VARYING = {"event_id", "tx_id", "change_id", "service", "seq", "recorded_at", "delivered"}


class Place:
    """A data directory and a database for the demo."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.environ = {"AUDITSPAN_DATA_DIR": str(folder), "AUDITSPAN_DATABASE_URL": database_url}
        self.environ["AUDITSPAN_ALLOW_UNGUARDED"] = "1"
        assert 0 == self.run("keys", "init").exit_code

    def run(self, *arguments: str) -> Result:
        """Run one command in this process."""
        return CliRunner().invoke(main, arguments, env=self.environ, prog_name="auditspan")

    def demo(self, *arguments: str) -> dict[str, Any]:
        """Run the demo and return its summary."""
        done = self.run("demo", *WEEK, "--json", *arguments)
        assert 0 == done.exit_code, done.output
        summary: dict[str, Any] = json.loads(done.stdout)
        return summary

    def events(self) -> list[dict[str, Any]]:
        """Return the events, oldest first."""
        done = self.run("events", "--json", "--limit", "100000")
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def place(tmp_path: Path, database_url: str) -> Place:
    """A database without users, on both databases."""
    return Place(tmp_path / "data", database_url)


def test_week_has_users_keys_roles_denials_failures_and_bulk_changes(place: Place) -> None:
    """Each event occurred in the week, most of them in office hours, and replay matches."""
    summary = place.demo()
    events = place.events()
    actions = Counter(event["action"] for event in events)
    assert {
        *("user.create", "user.update", "role.create", "api_key.create", "session.create"),
        *("authentication.failure", "authorization.failure", "invoice.sent"),
    } <= actions.keys()
    times = [datetime.fromisoformat(event["occurred_at"]) for event in events]
    since, until = (datetime.fromisoformat(summary[name]) for name in ("since", "until"))
    assert (datetime(2026, 6, 8, tzinfo=UTC), True) == (
        until,
        since <= min(times) < max(times) < until,
    )
    assert sum(8 <= time.hour < 19 for time in times) > len(times) / 2
    bulk = Counter(one["tx_id"] for one in events if one["actor"]["id"] == "nightly-directory-sync")
    assert 7 == len(bulk)
    assert 2 < min(bulk.values())
    assert actions["user.create"] == summary["users"]
    assert json.loads(place.run("verify", "--state", "--json").stdout)["state"]["ok"]


def test_database_clock_is_not_forged(place: Place) -> None:
    """The events are old; their rows were recorded now."""
    before = datetime.now(UTC)
    place.demo(*DAY)
    recorded = [datetime.fromisoformat(event["recorded_at"]) for event in place.events()]
    assert abs((min(recorded) - before).total_seconds()) < 60


def test_same_seed_writes_the_same_events(tmp_path: Path) -> None:
    """But for ids, secrets and the database's clock; another seed writes others."""

    def written(name: str, *arguments: str) -> list[dict[str, Any]]:
        place = Place(tmp_path / name, migrated_sqlite(tmp_path / f"{name}.db"))
        place.demo(*DAY, *arguments)
        kept = [{k: v for k, v in one.items() if k not in VARYING} for one in place.events()]
        for one in kept:
            one["metadata"] = {}  # the id that another program gave its event
        return kept

    first, again, other = written("a"), written("b"), written("c", "--seed", "2")
    assert first == again
    assert first != other


def test_database_with_users_is_refused(place: Place) -> None:
    """Exit code 2 and nothing is written, unless `--add` is given."""
    place.run("users", "add", "kim")
    before = place.events()
    done = place.run("demo", *WEEK)
    assert (2, True) == (done.exit_code, "has users already" in done.stderr)
    assert before == place.events()
    assert len(before) < place.demo(*DAY, "--add")["users"]


def test_rate_and_days_scale_the_week(tmp_path: Path) -> None:
    """A higher rate and more days mean more scenes; progress is on standard error."""
    scenes = []
    for number, options in enumerate(
        (["--days", "1"], ["--days", "2"], ["--days", "2", "--rate", "12"])
    ):
        place = Place(tmp_path / str(number), migrated_sqlite(tmp_path / f"{number}.db"))
        done = place.run("demo", "--until", "2026-06-05", "--rate", "4", "--json", *options)
        assert "writing" in done.stderr
        scenes.append(json.loads(done.stdout)["scenes"])
    assert sorted(set(scenes)) == scenes
