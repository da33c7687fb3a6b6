"""`reconcile --backend`: a log storage is asked for the records, over the API of its documentation.

VictoriaLogs itself is asked in tests/backends. Here a server answers as Loki's documentation says,
and one answers as VictoriaLogs does when it ends early.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from auditspan.delivery.log_record import unix_nanos
from auditspan.errors import AuditConfigError, LogBackendError
from auditspan.storage import insert_records
from auditspan.verify.backends import Delivered, read_backend
from auditspan_service.cli import main
from integration.trust.world import MAC, Trail, opened, record
from support.migrated import migrated_sqlite

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=3)
Line = tuple[int, Delivered]
Answer = tuple[int, str, str]
"""A status, a media type and a body."""
JSON, LINES = "application/json", "application/stream+json"


@contextmanager
def serving(answer: Callable[[str, dict[str, str]], Answer]) -> Iterator[str]:
    """A server that answers each path with its parameters; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            given = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, media_type, body = answer(parts.path, given)
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def loki(lines: list[Line], asked: list[dict[str, str]]) -> Callable[[str, dict[str, str]], Answer]:
    """Answer as Loki does: lines from `start` on, before `end`, at most `limit`, by stream."""

    def answer(path: str, given: dict[str, str]) -> Answer:
        if path == "/loki/api/v1/labels":
            return 200, JSON, json.dumps({"status": "success", "data": ["service_name"]})
        if path != "/loki/api/v1/query_range":
            return 404, "text/plain", "404 page not found"
        asked.append(given)
        start, end = int(given["start"]), int(given["end"])
        found = sorted((one for one in lines if start <= one[0] < end), key=lambda one: one[0])
        streams: dict[str, list[list[str]]] = defaultdict(list)
        for at, one in found[: int(given["limit"])]:
            labels = {"service_name": "shop", "audit_record_id": one.event_id}
            labels |= {"audit_trail_name": one.trail} if one.trail else {}
            streams[json.dumps(labels)].append([str(at), one.body or ""])
        result = [{"stream": json.loads(key), "values": values} for key, values in streams.items()]
        document = {"status": "success", "data": {"resultType": "streams", "result": result}}
        return 200, JSON, json.dumps(document)

    return answer


def line(number: int, at: datetime) -> Line:
    """A line of a record."""
    return unix_nanos(at), Delivered(f"id-{number}", f"body {number}", "auditspan/test")


def test_loki_is_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record comes once, over days and pages, also where a page ends within a moment."""
    monkeypatch.setattr("auditspan.verify.backends.loki._LIMIT", 3)
    moments = [NOON, NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=1)]
    moments += [NOON + timedelta(hours=2), NOON + timedelta(days=2)]
    lines = [line(number, at) for number, at in enumerate(moments)]
    asked: list[dict[str, str]] = []
    with serving(loki(lines, asked)) as url:
        found = list(read_backend(url, since=NOON))
    assert [one for _, one in lines] == found
    assert {"forward"} == {one["direction"] for one in asked}
    assert all('audit_record_id != ""' in one["query"] for one in asked)


def test_a_moment_with_too_many_records_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """More records of one time than an answer may hold cannot be paged, and are not left out."""
    monkeypatch.setattr("auditspan.verify.backends.loki._LIMIT", 3)
    lines = [line(number, NOON) for number in range(4)]
    with (
        serving(loki(lines, [])) as url,
        pytest.raises(LogBackendError, match="max_entries_limit_per_query"),
    ):
        list(read_backend(url, since=NOON))


def test_an_incomplete_answer_is_refused() -> None:
    """A day that had two records and returns one is not compared."""

    def answer(_path: str, given: dict[str, str]) -> Answer:
        if "stats" in given["query"]:
            return 200, LINES, json.dumps({"_time": "2026-01-01T00:00:00Z", "records": "2"})
        return 200, LINES, json.dumps({"audit.record.id": "a", "_msg": "{}"})

    with serving(answer) as url, pytest.raises(LogBackendError, match="1 of 2 audit records"):
        list(read_backend(url, since=NOON))


def test_web_page_is_not_taken_for_a_backend() -> None:
    """A web page with status 200 is not a storage without records."""
    with (
        serving(lambda *_: (200, "text/html", "<html></html>")) as url,
        pytest.raises(LogBackendError, match="neither VictoriaLogs nor Loki"),
    ):
        list(read_backend(url, since=NOON))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://kim:hunter2@127.0.0.1:1", "must not contain a user or a password"),
        ("http://[", "invalid URL"),
        ("ftp://127.0.0.1", "invalid URL"),
        ("http://127.0.0.1:99999", "invalid URL"),
    ],
)
def test_an_invalid_url_is_refused(url: str, reason: str) -> None:
    """It is not asked, and the message does not repeat credentials."""
    with pytest.raises(AuditConfigError, match=reason) as refusal:
        list(read_backend(url, since=NOON))
    assert "hunter2" not in refusal.value.message


def test_headers_are_sent_and_not_repeated() -> None:
    """A backend that refuses a token and echoes it is quoted without it."""

    def answer(path: str, _given: dict[str, str]) -> Answer:
        if path.endswith("labels"):
            return 200, JSON, "{}"
        return 401, "text/plain", "invalid token hunter2"

    headers = {"Authorization": "Bearer hunter2"}
    with serving(answer) as url, pytest.raises(LogBackendError, match="HTTP 401") as refusal:
        list(read_backend(url, since=NOON, headers=headers))
    assert "invalid token [redacted]" in refusal.value.message


def test_a_backend_that_is_away_is_an_error() -> None:
    """Nothing is reported as missing if the backend does not answer."""
    with pytest.raises(LogBackendError, match="cannot be reached"):
        list(read_backend("http://127.0.0.1:1", since=NOON))


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Trail]:
    """The service's trail without a row, on SQLite."""
    url = migrated_sqlite(tmp_path / "trail.db")
    with opened(url, tmp_path / "collector") as trail:
        yield trail


def command(trail: Trail, *arguments: str) -> Result:
    """`auditspan reconcile` on this trail."""
    environ = {
        "AUDITSPAN_DATA_DIR": str(trail.folder.parent),
        "AUDITSPAN_DATABASE_URL": trail.engine.url.render_as_string(hide_password=False),
        "AUDITSPAN_SINK": "file",
    }
    return CliRunner().invoke(main, ["reconcile", *arguments], env=environ)


def test_reconcile_names_what_a_backend_lacks(migrated: Trail) -> None:
    """Missing and changed records are named with exit code 1; a complete storage is fine."""
    records = [record(number) for number in range(3)]
    with migrated.engine.begin() as connection:
        insert_records(connection, migrated.tables, records, MAC)
    lines = [(unix_nanos(r.occurred_at), Delivered(r.event_id, r.body())) for r in records]
    with serving(loki(lines, [])) as url:
        complete = command(migrated, "--backend", url, "--json")
        assert (0, 3) == (complete.exit_code, json.loads(complete.stdout)["found"])
        lost = lines.pop()[1].event_id
        at, first = lines[0]
        lines[0] = at, first._replace(body="{}")
        done = command(migrated, "--backend", url, "--json")
    report = json.loads(done.stdout)
    assert (1, [lost], [first.event_id]) == (done.exit_code, report["missing"], report["different"])


def test_reconcile_takes_files_or_a_backend(migrated: Trail) -> None:
    """Both at once would be one report about two storages."""
    done = command(migrated, "--backend", "http://127.0.0.1:1", "--files", "/")
    assert 2 == done.exit_code
    assert "cannot be combined" in done.stderr
