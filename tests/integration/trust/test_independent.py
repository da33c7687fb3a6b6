"""The script of the format page agrees with auditspan about what it really writes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditspan.delivery.sinks import AUDIT_FILE, FileSink
from auditspan.storage import snapshot
from auditspan.storage.event_filter import EventFilter
from auditspan.storage.events import find_events
from auditspan.telemetry.otlp.files import read_logs
from auditspan_service.cli import main
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from integration.trust.world import FOREIGN, KEY, OTHER_LOG, Trail, opened
from support.running import Up, auditspan

SCRIPT = Path(__file__).parents[3] / "docs" / "verify_independently.py"


def check(*arguments: str | Path, key: str = KEY.public.vkey) -> tuple[int, str]:
    """Exit code and output of the script."""
    command = [sys.executable, "-I", str(SCRIPT), "--public-key", key, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def export(trail: Trail, path: Path) -> Path:
    """The events as `auditspan events --json` prints them."""
    with snapshot(trail.engine) as connection:
        events = find_events(connection, trail.tables, EventFilter(), after=0, limit=1000)
    lines = (json.dumps(event.resource(), ensure_ascii=False) for event in events)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_a_whole_trail_is_as_signed(delivered: Trail, tmp_path: Path) -> None:
    """The collector's file alone, with duplicates, and with an export beside it."""
    file = delivered.folder / AUDIT_FILE
    assert (0, "16 events, 4 checkpoints: as signed\n") == check(file)
    delivered.deliver()
    events = export(delivered, tmp_path / "events.jsonl")
    assert (0, "16 events, 4 checkpoints: as signed\n") == check(file, "--export", events)


def test_records_of_another_trail_are_skipped(delivered: Trail, tmp_path: Path) -> None:
    """A collector's file with the records of two trails proves each by its own key."""
    with opened(f"sqlite:///{tmp_path / 'other.db'}", delivered.folder) as other:
        other.write(3)
        other.seal(keys=[OTHER_LOG])
        other.deliver()
    file = delivered.folder / AUDIT_FILE
    assert (0, "16 events, 4 checkpoints: as signed\n") == check(file)
    assert (0, "3 events, 1 checkpoints: as signed\n") == check(file, key=OTHER_LOG.public.vkey)


def test_unsealed_events_are_reported(delivered: Trail, tmp_path: Path) -> None:
    """They are in the export, and nothing can be said of them yet."""
    delivered.write(1)
    events = export(delivered, tmp_path / "events.jsonl")
    code, said = check(delivered.folder / AUDIT_FILE, "--export", events)
    assert 0 == code
    assert "is not sealed yet" in said


@pytest.fixture
def exported(tmp_path: Path) -> Callable[..., Result]:
    """`auditspan export` of a trail whose records a collector's file has."""
    environ = {"AUDITSPAN_DATABASE_URL": f"sqlite:///{tmp_path / 'trail.db'}"}
    engine = make_engine(environ["AUDITSPAN_DATABASE_URL"])
    upgrade(engine)
    engine.dispose()
    with opened(environ["AUDITSPAN_DATABASE_URL"], tmp_path) as trail:
        trail.grow(3, 1)

    def export(*options: str) -> Result:
        return CliRunner().invoke(main, ["export", *options], env=environ)

    return export


def test_an_export_is_what_the_collector_has(
    exported: Callable[..., Result], tmp_path: Path
) -> None:
    """The same records, which prove themselves; and those from a number on."""
    path = tmp_path / "out.jsonl"
    done = exported("--output", str(path))
    assert (0, "6 records written, 0 left out\n") == (done.exit_code, done.stderr)
    assert (0, "4 events, 2 checkpoints: as signed\n") == check(path)
    own, collected = ({e.body for e in read_logs(one)} for one in (path, tmp_path / AUDIT_FILE))
    assert collected == own
    path.write_text(exported("--since", "3").stdout)
    assert 2 == len(own & {entry.body for entry in read_logs(path)})
    again = exported("--output", str(path))
    assert (2, True) == (again.exit_code, "already exists" in again.stderr)


def test_export_to_a_dash_is_written_to_standard_output(
    exported: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not to a file of that name."""
    monkeypatch.chdir(tmp_path)
    assert exported().stdout == exported("--output", "-").stdout
    assert not (tmp_path / "-").exists()


EDITS = {
    "body": ('\\"label\\":\\"kim\\"', '\\"label\\":\\"eve\\"'),
    "sequence number": ('"audit.sequence.number","value":{"intValue":"3"', None),
    "row id": ('"audit.row.id","value":{"intValue":"4"', None),
    "time": ('"observedTimeUnixNano":"1', '"observedTimeUnixNano":"2'),
    "MAC": ('"audit.integrity.value","value":{"stringValue":"', None),
    "signature": ("\\u2014 auditspan/test ", None),
}


@pytest.mark.parametrize("edit", EDITS)
def test_whatever_is_changed_in_the_file_is_found(delivered: Trail, edit: str) -> None:
    """Body, place, row, time, MAC and signature: all of them are under the signed root."""
    file = delivered.folder / AUDIT_FILE
    whole = file.read_text(encoding="utf-8")
    old, new = EDITS[edit]
    assert old in whole
    if new is None:  # the next character but a few
        at = whole.index(old) + len(old) + (10 if edit == "signature" else 0)
        at -= 1 if edit in {"sequence number", "row id"} else 0
        file.write_text(whole[:at] + ("8" if whole[at] != "8" else "9") + whole[at + 1 :])
    else:
        file.write_text(whole.replace(old, new, 1))
    assert 1 == check(file)[0]


def test_altered_export_is_found(delivered: Trail, tmp_path: Path) -> None:
    """One event of it differs from what was sealed."""
    events = export(delivered, tmp_path / "events.jsonl")
    events.write_text(events.read_text(encoding="utf-8").replace('"kim"', '"eve"', 1))
    code, said = check(delivered.folder / AUDIT_FILE, "--export", events)
    assert (1, 1) == (code, said.count("is not what was sealed"))


def test_nothing_to_check_is_not_success(delivered: Trail, tmp_path: Path) -> None:
    """Neither a file without checkpoints nor one whose checkpoints others have signed."""
    (tmp_path / "empty.jsonl").write_text("")
    assert 1 == check(tmp_path / "empty.jsonl")[0]
    assert 1 == check(delivered.folder / AUDIT_FILE, key=FOREIGN.public.vkey)[0]
    assert 2 == check(tmp_path / "nowhere.jsonl")[0]
    assert 2 == check(delivered.folder / AUDIT_FILE, key="no key")[0]


def test_torn_line_is_skipped(delivered: Trail) -> None:
    """A writer that was killed leaves a piece; the record comes again behind it."""
    file = delivered.folder / AUDIT_FILE
    torn = file.read_text(encoding="utf-8").splitlines()[0][:300]
    with FileSink(delivered.folder).path.open("a", encoding="utf-8") as stream:
        stream.write(torn)
    delivered.deliver()
    code, said = check(file)
    assert 0 == code, said
    assert "damaged" in said


def test_it_reads_what_the_real_collector_wrote(tmp_path: Path, collector_bin: Path) -> None:
    """The service, its worker and the collector, and what the command line prints of them."""
    with Up(tmp_path / "data", environ={"OTELCOL_BIN": str(collector_bin)}) as up:
        for name in ("kim", "zoë", "李"):
            body = {"username": name, "full_name": 'A "B" \\ é 李'}
            assert 201 == up.client.post("/v1/users", json=body).status_code
    data = {"AUDITSPAN_DATA_DIR": str(tmp_path / "data")}
    key = auditspan("checkpoint", "--public-key", **data).stdout.strip()
    events = tmp_path / "events.jsonl"
    events.write_text(auditspan("events", "--json", **data).stdout, encoding="utf-8")
    code, said = check(*up.said.audit_files.glob("*.jsonl"), "--export", events, key=key)
    assert 0 == code, said
    assert "checkpoints: as signed\n" in said
    assert "18 erasable values are not checked" in said
    lines = auditspan("export", "--format", "ndjson", **data).stdout
    events.write_text(lines, encoding="utf-8")
    code, said = check(*up.said.audit_files.glob("*.jsonl"), "--export", events, key=key)
    assert 0 == code, said
    assert said.endswith("checkpoints: as signed\n")
    events.write_text(lines.replace('"row_id":', '"disclosures":["Zm9yZ2Vk"],"row_id":', 1))
    code, said = check(*up.said.audit_files.glob("*.jsonl"), "--export", events, key=key)
    assert 1 == code
    assert "a disclosure does not belong to the event" in said
    assert 3 <= len(events.read_text(encoding="utf-8").splitlines())
