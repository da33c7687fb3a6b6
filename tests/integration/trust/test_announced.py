"""Rows that were deleted before they were sealed are told from the span events of their commits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from sqlalchemy import select

from auditspan.format.record import AuditRecord
from auditspan.storage import snapshot
from auditspan.storage.new_events import insert_records
from auditspan.telemetry.span_events import announce
from auditspan.verify.reconciliation import reconcile
from auditspan_service.cli import main
from integration.trust.world import MAC, Trail, opened, record
from support.migrated import migrated_sqlite


def commit_and_announce(trail: Trail, count: int) -> list[str]:
    """Commit rows and announce them on a span, as the application does; their ids."""
    records = [record(number) for number in range(count)]
    with trail.engine.begin() as connection:
        insert_records(connection, trail.tables, records, MAC)
    write_span(trail, records)
    return [one.event_id for one in records]


def write_span(trail: Trail, records: list[AuditRecord]) -> None:
    """Write a span that announces the records to the collector's traces."""
    spans(trail).parent.mkdir(parents=True, exist_ok=True)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(FileSpanExporter(spans(trail))))
    with provider.get_tracer("test").start_as_current_span("POST /v1/users"):
        announce(records, {"user": len(records)})
    provider.shutdown()


def spans(trail: Trail) -> Path:
    """The file of spans."""
    return trail.folder / "telemetry" / "traces.jsonl"


def delete_row(trail: Trail, event_id: str) -> None:
    """Delete a row with the owner's rights."""
    with trail.attack() as attack:
        attack.run("DELETE FROM audit_event WHERE event_id = :event_id", event_id=event_id)
        attack.connection.commit()


def deleted(trail: Trail) -> tuple[bool, int | None, list[str]]:
    """Return whether trail and spans reconcile, the announced events and the deleted ones."""
    with snapshot(trail.engine) as connection:
        report = reconcile(connection, trail.tables, [trail.folder], spans=[spans(trail)])
    return report.ok, report.announced, report.deleted


def test_rows_deleted_before_they_are_sealed_are_named(fresh: Trail) -> None:
    """A row that a span event announced and the table lacks is a finding, the seals being whole."""
    ids = commit_and_announce(fresh, 3)
    delete_row(fresh, ids[1])
    fresh.seal()
    fresh.deliver()
    assert [] == fresh.report(witnessed=True).findings
    assert (False, 3, [ids[1]]) == deleted(fresh)


def test_announced_rows_that_are_there_are_no_finding(fresh: Trail) -> None:
    """Sealed and delivered rows reconcile, also when one was announced twice."""
    commit_and_announce(fresh, 3)
    fresh.seal()
    fresh.deliver()
    write_span(fresh, [record(0)._replace(event_id=first_id(fresh))])
    assert (True, 3, []) == deleted(fresh)


def test_rows_that_are_not_sealed_yet_are_not_deleted(fresh: Trail) -> None:
    """A row that waits to be sealed is missing in the files, and not deleted."""
    commit_and_announce(fresh, 2)
    fresh.seal()
    fresh.deliver()
    commit_and_announce(fresh, 1)
    assert (False, 3, []) == deleted(fresh)


def test_rows_that_log_events_announced_are_known(fresh: Trail) -> None:
    """With log events in place of span events, a deleted row is named; no event is a record."""
    ids = commit_and_announce(fresh, 1)
    records = [record(number) for number in range(2)]
    with fresh.engine.begin() as connection:
        insert_records(connection, fresh.tables, records, MAC)
    provider = LoggerProvider(shutdown_on_exit=False)
    file = spans(fresh).with_name("logs.jsonl")
    provider.add_log_record_processor(SimpleLogRecordProcessor(FileLogExporter(file)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "auditspan.telemetry.log_events._logs.get_logger",
            lambda name, version, **_: provider.get_logger(name, version),
        )
        announce(records, {"user": len(records)}, signal="log")
    provider.shutdown()
    delete_row(fresh, records[1].event_id)
    fresh.seal()
    fresh.deliver()
    with snapshot(fresh.engine) as connection:
        report = reconcile(connection, fresh.tables, [fresh.folder], spans=[file.parent])
    assert (3, [records[1].event_id]) == (report.announced, report.deleted)
    assert (2, [], [], []) == (report.found, report.missing, report.different, report.unknown)
    assert ids[0] not in report.deleted


def first_id(trail: Trail) -> str:
    """The id of the first row."""
    event = trail.tables.event.c
    with trail.engine.connect() as connection:
        return str(connection.scalars(select(event.event_id).order_by(event.id)).first())


def command(trail: Trail, *arguments: str) -> Result:
    """`auditspan reconcile` on this trail."""
    environ = {
        "AUDITSPAN_DATA_DIR": str(trail.folder.parent),
        "AUDITSPAN_COLLECTOR_FILES": str(trail.folder),
        "AUDITSPAN_DATABASE_URL": trail.engine.url.render_as_string(hide_password=False),
        "AUDITSPAN_SINK": "file",
    }
    return CliRunner().invoke(main, ["reconcile", *arguments], env=environ)


@pytest.mark.parametrize("given", [True, False], ids=["with a path", "by the settings"])
def test_the_command_names_deleted_rows(tmp_path: Path, *, given: bool) -> None:
    """`reconcile --spans` is exit code 1 and names the row; without it the files are whole."""
    url = migrated_sqlite(tmp_path / "trail.db")
    with opened(url, tmp_path / "collector") as trail:
        ids = commit_and_announce(trail, 2)
        delete_row(trail, ids[0])
        trail.seal()
        trail.deliver()
        option = ["--spans", str(spans(trail))] if given else ["--spans"]
        as_json = command(trail, "--json", *option)
        text = command(trail, *option)
        without = command(trail, "--json")
    assert (1, 1, 0) == (as_json.exit_code, text.exit_code, without.exit_code)
    assert [ids[0]] == json.loads(as_json.stdout)["deleted"]
    assert f"deleted  {ids[0]}" in text.stdout.splitlines()


def test_absent_spans_are_an_error(fresh: Trail, tmp_path: Path) -> None:
    """Nothing to compare with is exit code 2, and not a trail without deleted rows."""
    assert 2 == command(fresh, "--spans", str(tmp_path / "absent")).exit_code


def test_more_files_behind_spans_are_refused(tmp_path: Path) -> None:
    """A pattern that a shell has expanded is an error, since its files could be taken for logs."""
    for name in ("a", "b"):
        (tmp_path / name).touch()
    arguments = ["reconcile", "--files", str(tmp_path), "--spans", str(tmp_path / "a")]
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "b")])
    assert (2, True) == (result.exit_code, "--spans" in result.stderr)
