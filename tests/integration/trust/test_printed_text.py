"""Commands escape the text of others: no record moves the cursor or forges a line."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from click.testing import CliRunner, Result

from auditspan import Actor
from auditspan.delivery.sinks import AUDIT_FILE
from auditspan.format.canonical import Json
from auditspan.storage.new_events import insert_records
from auditspan_service.cli import main
from integration.trust.world import KEY, MAC, Trail, opened, record
from support.migrated import migrated_sqlite

NASTY = "x\x1b[2J\x9b31m\u202e\u2066\x07\nreconciled"
INSERT_USER = """
INSERT INTO users (username, active, created_at, updated_at, version)
VALUES (?, 1, '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000', 1)
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trail]:
    """A delivered trail, with strangers' text in a row and in the collector's files."""
    tmp_path = tmp_path_factory.mktemp("printed")
    url = migrated_sqlite(tmp_path / "trail.db")
    with closing(sqlite3.connect(tmp_path / "trail.db")) as connection:
        connection.execute(INSERT_USER, (NASTY,))
        connection.commit()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "mac.key").write_text(MAC.dump())
    (tmp_path / "keys" / "signing.key").write_text(KEY.dump())
    with opened(url, tmp_path / "collector") as made:
        made.grow(1)
        changes: dict[str, dict[str, Json]] = {"n\x1b[2J\n": {"old": NASTY, "new": None}}
        odd = record(7)._replace(actor=Actor.user("7", label=NASTY), changes=changes)
        with made.engine.begin() as connection:
            insert_records(connection, made.tables, [odd], MAC)
        made.seal()
        made.deliver()
        with (made.folder / AUDIT_FILE).open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(line) + "\n" for line in strangers())
        spans = made.folder / "telemetry" / "traces.jsonl"
        spans.parent.mkdir(exist_ok=True)
        spans.write_text(json.dumps(span()) + "\n")
        yield made


def strangers() -> list[dict[str, Any]]:
    """Records that any program can send to a collector."""
    origin = f"{KEY.name}/{NASTY.partition(chr(10))[0]}"
    bodies = [f"{origin}\n1\nAAAA\n\n— x y\n", f"other{NASTY}\n1\nAAAA\n\n— x y\n"]
    checkpoints = [log(body, "audit.checkpoint", "note") for body in bodies]
    return [log(NASTY, "audit.user.update", NASTY), *checkpoints]


def log(body: str, name: str, event_id: str) -> dict[str, Any]:
    """An export of one log record."""
    names = ("audit.record.id", "log.record.uid")
    attributes = [{"key": one, "value": {"stringValue": event_id}} for one in names]
    one = {"eventName": name, "traceId": TRACE, "body": {"stringValue": body}}
    records = [one | {"attributes": attributes if name == "audit.user.update" else []}]
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}


def span() -> dict[str, Any]:
    """An export of one span whose texts are all strange."""
    one = {"traceId": TRACE, "spanId": "b" * 16, "name": NASTY, "events": [{"name": NASTY}]}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}


def command(trail: Trail, *arguments: str) -> Result:
    """A command on this trail."""
    environ = {
        "AUDITSPAN_DATA_DIR": str(trail.folder.parent),
        "AUDITSPAN_DATABASE_URL": trail.engine.url.render_as_string(hide_password=False),
        "AUDITSPAN_COLLECTOR_FILES": str(trail.folder),
        "AUDITSPAN_SINK": "file",
    }
    return CliRunner().invoke(main, arguments, env=environ)


COMMANDS = [
    ("verify", "--witness", "FILES"),
    ("verify", "--witness", "FILES", "--state"),
    ("reconcile", "--files", "FILES"),
    ("events",),
    ("show", "EVENT"),
    ("history", "user", "7"),
    ("trace", TRACE),
    ("users", "list"),
    ("keys", "list"),
    ("doctor",),
    ("show", NASTY),
    ("history", NASTY, NASTY),
]


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_print_no_control_characters(
    trail: Trail, arguments: tuple[str, ...], options: list[str]
) -> None:
    """Neither tables nor JSON hold ESC, C0, C1 or bidirectional controls, wherever they stood."""
    listed = command(trail, "events", "--json").stdout.splitlines()
    places = {"FILES": str(trail.folder), "EVENT": json.loads(listed[-1])["event_id"]}
    result = command(trail, *(places.get(word, word) for word in arguments), *options)
    printed = result.stdout + result.stderr
    assert set() == {c for c in printed if not c.isprintable()} - {"\n"}


def test_no_record_forges_a_line_of_reconcile(trail: Trail) -> None:
    """An id with a line feed stays on its line."""
    lines = command(trail, "reconcile", "--files", str(trail.folder)).stdout.splitlines()
    assert [r"unknown  x\x1b[2J\x9b31m\u202e\u2066\x07\nreconciled", "NOT reconciled"] == lines[-2:]


def test_json_of_a_command_holds_the_text_itself(trail: Trail) -> None:
    """Escaped text in JSON is the same text for a program that reads it."""
    said = json.loads(command(trail, "reconcile", "--json").stdout)
    assert [NASTY] == said["unknown"]


def test_names_of_other_logs_are_escaped(trail: Trail) -> None:
    """The finding about a stranger's checkpoint names its log with escapes."""
    printed = command(trail, "verify", "--witness", str(trail.folder)).stdout
    assert r"\x1b[2J" in printed
