"""Every command of a trail, on the service, on applications by `--app`, and by `flask audit`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auditspan.cli import COMMANDS
from support import commands
from support.commands import TARGETS, Place, place_of

EVENT = {"event_id", "occurred_at", "action", "actor", "target", "changes", "seq", "recorded_at"}
VERIFIED = {"ok", "rows", "tree_size", "root", "checkpoints", "findings"}
RECONCILED = {"ok", "rows", "found", "missing", "unknown", "different", "duplicates"}
RECONCILED |= {"damaged_lines"}


@pytest.fixture(scope="module", params=TARGETS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A trail with two events, sealed and delivered by the command `worker`."""
    with place_of(request.param, tmp_path_factory.mktemp("place") / "data") as opened:
        yield opened


def test_events_lists_the_events(place: Place) -> None:
    """Each line is an event resource; `show` and `history` print the same ones."""
    events = place.objects("events")
    assert place.actions == [event["action"] for event in events]
    assert {True} == {EVENT <= event.keys() and event["delivered"] for event in events}
    newest = events[-1]
    for name in (newest["event_id"], str(newest["seq"])):
        assert [newest] == place.objects("show", name)
    for name in ("471147", "nothing"):
        done = place.run("show", name)
        assert (2, f"Error: Event {name} was not found.\n") == (done.exit_code, done.stderr)
    target = newest["target"]
    history = place.objects("history", target["type"], target["id"])
    assert [event for event in events if event["target"]["id"] == target["id"]] == history


def test_trace_reads_the_collectors_files(place: Place) -> None:
    """A trace that is not in the files is a finding."""
    assert (1, "") == ((done := place.run("trace", "0" * 31 + "1")).exit_code, done.stdout)


def test_verify_finds_nothing(place: Place) -> None:
    """Rows, witness and live tables agree; every check is made."""
    witness = str(place.data / "collector" / "audit")
    (report,) = place.objects("verify", "--state", "--witness", witness)
    assert VERIFIED <= report.keys()
    assert (True, 2, 2, [], []) == (
        report["ok"],
        report["rows"],
        report["tree_size"],
        report["findings"],
        report["unchecked"],
    )
    assert report["state"]["ok"]


def test_reconcile_finds_everything(place: Place) -> None:
    """The sink has every row once; sending again sends nothing."""
    (report,) = place.objects("reconcile", "--resend")
    assert RECONCILED <= report.keys()
    assert (True, 2, 2, 0) == (
        report["ok"],
        report["rows"],
        report["found"],
        len(report["resent"]["sent"]),
    )


def test_export_writes_the_delivered_records(place: Place) -> None:
    """Each record and each checkpoint is one line."""
    done = place.run("export")
    assert 0 == done.exit_code
    assert "0 left out" in done.stderr
    assert {True} == {'"resourceLogs"' in line for line in done.stdout.splitlines()}


@pytest.mark.parametrize(
    ("form", "lines"), [("ndjson", 3), ("csv", 3), ("ocsf", 2), ("cloudevents", 2)]
)
def test_export_writes_other_forms(place: Place, form: str, lines: int) -> None:
    """Each event is one line, besides a manifest or the names of columns."""
    done = place.run("export", "--format", form)
    assert (0, lines) == (done.exit_code, len(done.stdout.splitlines()))
    assert f"{lines} lines written, 0 left out" in done.stderr
    refused = place.run("export", "--format", form, "--since", "1")
    assert (2, True) == (refused.exit_code, "--since N needs the form otlp" in refused.stderr)


def test_export_has_the_filters_of_a_search(place: Place) -> None:
    """Only the matching events are written; OTLP, which is always complete, refuses a filter."""
    first, _ = place.objects("events")
    options = (
        ("--trace-id", first["trace_id"]) if first["trace_id"] else ("--tx-id", first["tx_id"])
    )
    found = place.run("export", "--format", "cloudevents", *options, "--since", "2000-01-01")
    matching = place.objects("events", *options)
    ids = [json.loads(line)["id"] for line in found.stdout.splitlines()]
    assert [one["event_id"] for one in matching] == ids
    assert [] == place.run("export", "--format", "ocsf", "--since", "2999-01-01").stdout.split()
    refused = place.run("export", *options)
    assert (2, True) == (refused.exit_code, "Filters need another form" in refused.stderr)


def test_checkpoint_prints_the_newest_and_the_keys(place: Place) -> None:
    """The note is signed, and the public key verifies the trail."""
    (newest,) = place.objects("checkpoint")
    assert 2 == newest["tree_size"]
    (keys,) = place.objects("checkpoint", "--public-key")
    assert newest["note"].startswith(f"{keys['name']}/1\n")
    assert 0 == place.run("verify", "--public-key", keys["public_key"]).exit_code


def test_baseline_records_what_is_older(place: Place) -> None:
    """No row of these applications is; the service, which has no older rows, refuses."""
    if place.name == "service":
        done = place.run("baseline")
        assert (2, True) == (done.exit_code, "name it with --app" in done.stderr)
    else:
        assert [{"recorded": 0}] == place.objects("baseline")


def test_erase_counts_and_requires_a_reason(place: Place) -> None:
    """Nothing of this subject is erasable; the erasure itself needs a reason."""
    (counted,) = place.objects("erase", "customer", "471", "--dry-run")
    assert (0, 0, True) == (counted["values"], counted["events"], counted["dry_run"])
    done = place.run("erase", "customer", "471")
    assert (2, True) == (done.exit_code, "requires --reason" in done.stderr)


def test_matrix_runs_every_command() -> None:
    """Each command of a trail is run by a test of this module, or by the set-up of its places."""
    source = "".join(Path(one).read_text(encoding="utf-8") for one in (__file__, commands.__file__))
    ran = re.findall(r"place\.(?:run|objects)\(\s*\"([a-z]+)\"", source)
    assert {*COMMANDS} == {*ran} & {*COMMANDS}


def test_coverage_lists_the_models(place: Place) -> None:
    """Every model has a decision."""
    assert "missing" not in {one["decision"] for one in place.objects("coverage")}


def test_doctor_checks_the_set_up(place: Place) -> None:
    """On SQLite there is no problem; on PostgreSQL the tests are superuser, and write files."""
    is_server = place.name == "postgresql"
    (report,) = place.objects("doctor", code=1 if is_server else 0)
    kinds = {finding["kind"] for finding in report["findings"]}
    assert ({"role", "sink"} if is_server else set()) == kinds


def test_db_checks_and_restores_the_guards(place: Place) -> None:
    """The guards are in place, and restoring them finds nothing."""
    (checked,) = place.objects("db", "check")
    assert checked["ok"]
    assert [{"found": []}] == place.objects("db", "guard")


def test_keys_exist_and_cover_nothing(place: Place) -> None:
    """The MAC key is not created twice, and every row has a MAC."""
    (key,) = place.objects("keys", "init")
    assert (False, str(place.data / "keys" / "mac.key")) == (key["created"], key["mac_key_file"])
    assert [{"rows": 0}] == place.objects("keys", "cover")


def test_a_rotated_mac_key_keeps_the_old_one(place: Place) -> None:
    """Afterwards every row is still verified."""
    (before,) = place.objects("keys", "init")
    (after,) = place.objects("keys", "rotate-mac")
    assert before["mac_key_id"] in after["previous"]
    (report,) = place.objects("verify")
    assert (True, []) == (report["ok"], report["unchecked"])


def test_partitions_are_created_on_postgresql_only(place: Place) -> None:
    """SQLite is refused in one sentence."""
    done = place.run("db", "partition")
    is_server = place.name == "postgresql"
    assert (0 if is_server else 2) == done.exit_code
    assert ("(created)" in done.stdout) == is_server
    assert ("PostgreSQL" in done.stderr) != is_server


def test_init_is_safe_to_repeat(place: Place) -> None:
    """It creates nothing, and says in five lines where things are; the service has none."""
    done = place.run("init")
    if place.name == "service":
        assert (2, "--app") == (done.exit_code, "--app" if "--app" in done.stderr else done.stderr)
        return
    heads = ["created", "keys", "database", "public", "next"]
    assert heads == [line.split()[0] for line in done.stdout.splitlines()]
    assert "nothing: everything exists" in done.stdout


def test_help_lists_the_commands(place: Place) -> None:
    """Every command is listed with the first sentence of its own help."""
    listed = place.run("--help").stdout
    for name in ("worker", "events", "reconcile"):
        (line,) = (line for line in listed.splitlines() if line.startswith(f"  {name} "))
        assert line.split(maxsplit=1)[1] in place.run(name, "--help").stdout


def test_retention_plans_holds_and_purges(place: Place) -> None:
    """A dry run changes nothing; without an authorised purge there is nothing to remove."""
    before = len(place.objects("events"))
    (plan,) = place.objects("retain", "--keep", "400d", "--dry-run")
    assert (0, 0, True) == (plan["rows"], plan["size"], plan["dry_run"])
    assert [{"event_id": None, "size": 0, "removed": 0, "partitions": []}] == place.objects("purge")
    assert before == len(place.objects("events"))
    held = (
        "--target-type",
        "item",
        "--actor",
        "7",
        "--before",
        "2026-01-01",
        "--reason",
        "case 12",
    )
    (placed,) = place.objects("hold", "add", *held)
    (listed,) = place.objects("hold", "list")
    assert (placed["id"], "case 12", "item") == (
        listed["id"],
        listed["reason"],
        listed["criteria"]["target_type"],
    )
    place.objects("hold", "release", placed["id"], "--reason", "settled")
    assert [] == place.objects("hold", "list")
    for wrong in (("--keep", "1d"), ("--reason", "r"), ("--keep", "x", "--dry-run")):
        assert 2 == place.run("retain", *wrong).exit_code


def test_missing_key_of_a_trail_is_not_replaced(place: Place) -> None:
    """A new key would make earlier rows unverifiable; the message says where it was expected."""
    signing = next((place.data / "keys").glob("signing*.key"))
    files: dict[Path, tuple[str, ...]] = {signing: ("worker",)}
    if place.name == "service":  # the others have read their MAC key in this process
        files[place.data / "keys" / "mac.key"] = ("users", "add", "kim")
    for file, command in files.items():
        kept = file.rename(file.with_suffix(".kept"))
        done = place.run(*command)
        assert (2, "", False) == (done.exit_code, done.stdout, file.exists())
        assert f"key file {file} does not exist" in done.stderr
        kept.rename(file)
    (report,) = place.objects("verify")
    assert report["ok"]


def test_db_restored_continues_the_trail(place: Place) -> None:
    """Every trail continues as the next incarnation, and the events before it still verify."""
    (said,) = place.objects("db", "restored", "--reason", "disk lost")
    (event,) = place.objects("show", said["event_id"])
    assert ("trail.restore", "disk lost", 2) == (
        event["action"],
        event["reason"],
        said["incarnation"],
    )
    (report,) = place.objects("verify")
    assert (True, said["tree_size"]) == (report["ok"], report["tree_size"])
