"""The memory of a large export: that of the process that serves it, and of the command.

1,000,000 rows took 116 MiB in the service; here are fewer, since memory does not depend on them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, text

from auditspan_service.database.engine import make_engine
from integration.service.test_commands import Place
from integration.service.test_refused_requests import serving
from support.patience import PATIENCE
from support.running import AUDITSPAN, clean_environment

ROWS = [2_000, pytest.param(200_000, marks=pytest.mark.timeout(1800))]
LIMIT = 150 * 1024
"""The most that a process may have used, in KiB."""
FORMS = ("ndjson", "csv", "ocsf", "cloudevents")

FILL = """
INSERT INTO audit_event (event_id, occurred_at, actor_type, action, outcome, tx_id, body)
SELECT gen_random_uuid(), now(), 'user', 'note.made', 'success', 'tx', body
FROM audit_event, generate_series(1, :rows) WHERE id = 1
"""
SEAL = """
INSERT INTO audit_leaf (seq, row_id, event_id, leaf_hash)
SELECT row_number() OVER (ORDER BY id) - 1, id, event_id, decode(md5(tx_id), 'hex')
FROM audit_event
"""
CHECKPOINT = """
INSERT INTO audit_checkpoint (tree_size, root_hash, note, frontier)
SELECT count(*), '\\x00', 'note', '\\x00' FROM audit_leaf
"""


def fill(connection: Connection, rows: int) -> None:
    """Make a trail of this many rows; an export reads leaves and does not verify them."""
    indexes = "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'ix_audit_event_%'"
    for name in connection.execute(text(indexes)).scalars().all():
        connection.execute(text(f"DROP INDEX {name}"))
    connection.execute(text(FILL), {"rows": rows})
    connection.execute(text(SEAL))
    connection.execute(text(CHECKPOINT))


def peak_of_children(folder: Path) -> int:
    """The most memory that a process of gunicorn has used, in KiB."""
    peaks = [0]
    for status in Path("/proc").glob("[0-9]*/status"):
        environ = status.with_name("environ")
        try:
            if str(folder).encode() in environ.read_bytes():
                found = dict(line.split(":", 1) for line in status.read_text().splitlines())
                peaks.append(int(found.get("VmHWM", "0 kB").split()[0]))
        except OSError:
            continue
    return max(peaks)


@pytest.mark.slow
@pytest.mark.parametrize("rows", ROWS)
def test_large_export_takes_little_memory(tmp_path: Path, postgresql_url: str, rows: int) -> None:
    """At most 150 MiB for any number of rows, in the service and on the command line."""
    place = Place(tmp_path / "data", postgresql_url)
    place.objects("keys", "init")
    (made,) = place.objects("keys", "create", "--username", "kim", "--scope", "admin")
    engine = make_engine(postgresql_url)
    with engine.begin() as connection:
        fill(connection, rows)
    engine.dispose()
    headers = {"Authorization": f"Bearer {made['key']}"}
    with serving(place) as port:
        for form in FORMS:
            url = f"http://127.0.0.1:{port}/v1/audit-events/export?format={form}"
            with httpx.stream("GET", url, headers=headers, timeout=PATIENCE) as response:
                lines = sum(part.count(b"\n") for part in response.iter_raw())
            assert rows <= lines <= rows + 5
        assert 0 < peak_of_children(place.folder) <= LIMIT
    assert peak_of_command(place) <= LIMIT


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A small program in between: the peak of a process begins with that of the one that started it."""


def peak_of_command(place: Place) -> int:
    """The most memory that the command has used, in KiB."""
    command = [str(AUDITSPAN), "export", "--format", "ocsf"]
    environ = {**clean_environment(), **place.environ}
    measured = [sys.executable, "-c", MEASURE, *command]
    return int(subprocess.run(measured, env=environ, check=True, capture_output=True).stdout)
