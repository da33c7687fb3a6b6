"""The stack of compose.yaml: it comes up, its tour is true, and everybody in it is confined."""

from __future__ import annotations

import json
import urllib.request

import pytest

from containers.stack import Stack, docker

pytestmark = pytest.mark.timeout(1800)

RUNNING = ("postgres", "service", "worker", "collector")
ONE_SHOTS = ("migrate", "grants", "signing-key", "collector-files", "collector-ready")
OURS = pytest.mark.parametrize("service", ["service", "worker"])

CHANGES = """
UPDATE audit_event SET body = body
DELETE FROM audit_event
TRUNCATE audit_event
ALTER TABLE audit_event DISABLE TRIGGER ALL
DROP TABLE audit_event
UPDATE audit_leaf SET leaf_hash = leaf_hash
DELETE FROM audit_leaf
DELETE FROM audit_checkpoint
INSERT INTO audit_event (id) OVERRIDING SYSTEM VALUE VALUES (1)
SET ROLE auditspan_owner
CREATE TABLE mine (id int)
""".strip().splitlines()

#: Prints, for each statement, the SQLSTATE with which the database refuses it, or "done".
TRY_ALL = """
import json, pathlib, psycopg
url = pathlib.Path("/run/secrets/auditspan_database_url").read_text().strip()
said = {{}}
with psycopg.connect(url, autocommit=True) as connection:
    for statement in {statements!r}:
        try:
            connection.execute(statement)
            said[statement] = "done"
        except psycopg.Error as error:
            said[statement] = error.sqlstate
print(json.dumps(said))
"""

TRY_TO_WRITE = """
import errno, json
said = {}
places = "/ /etc /var /opt/venv /opt/venv/bin /var/lib/otelcol".split()
for path in [f"{place}/x" for place in places]:
    try:
        open(path, "a").close()
        said[path] = "written"
    except OSError as error:
        said[path] = errno.errorcode[error.errno]
print(json.dumps(said))
"""


def test_everything_is_healthy_and_every_one_shot_succeeded(stack: Stack) -> None:
    """What `up --wait` returned for is true: service and collector answer, nothing has failed."""
    for service in RUNNING:
        state = stack.inspect(service)["State"]
        assert state["Status"] == "running"
        assert state.get("Health", {}).get("Status", "healthy") == "healthy"
    assert {0} == {stack.inspect(service)["State"]["ExitCode"] for service in ONE_SHOTS}
    for url in (f"{stack.url}/readyz", stack.health_url):
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (on the loopback)
            assert answer.status == 200


def test_tour_runs_against_the_running_service(stack: Stack) -> None:
    """Requests through the service that serves, rows in PostgreSQL, records from its collector."""
    said = stack.report("service", "tour")
    assert said["ok"] is True, json.dumps(said, indent=1)
    assert [201, 200, 412, 409, 401, 403, 500, 201, 200, 201, 200, 200, 200, 204] == [
        step["status"] for step in said["steps"]
    ]
    left = [(s["rows"], s["span_events"], s["log_records"]) for s in said["steps"]]
    assert [(n, n, n) for n in (1, 1, 0, 0, 0, 0, 0, 1, 0, 3, 3, 1, 3, 1)] == left
    assert said["verify"]["ok"] is True
    assert said["reconcile"]["ok"] is True


def test_the_key_of_the_tour_opens_nothing_afterwards(stack: Stack) -> None:
    """A tour leaves no door open, and the trail says who made its key and that it is revoked."""
    stack.execute("service", "auditspan", "tour")
    listed = stack.execute("service", "auditspan", "keys", "list", "--json").splitlines()
    keys = [key for key in map(json.loads, listed) if key["username"] == "auditspan-tour"]
    assert keys != []
    assert [key for key in keys if key["revoked_at"] is None] == []


@OURS
def test_nothing_can_be_written_outside_the_volumes(stack: Stack, service: str) -> None:
    """The root file system is read-only, and so are the collector's files."""
    said = json.loads(stack.python(service, TRY_TO_WRITE))
    assert {"EROFS"} == set(said.values()), said


@pytest.mark.parametrize("service", RUNNING)
def test_the_engine_confines_every_container(stack: Stack, service: str) -> None:
    """Read-only root, no capabilities, nothing to be gained, and no process is root's."""
    inspected = stack.inspect(service)
    host = inspected["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    listed = docker("top", inspected["Id"], "-eo", "uid,pid").splitlines()[1:]
    assert listed != []
    assert "0" not in {line.split()[0] for line in listed}


@OURS
def test_no_role_that_serves_can_change_the_trail(stack: Stack, service: str) -> None:
    """With its own credentials, the database refuses every change to what has been recorded."""
    said = json.loads(stack.python(service, TRY_ALL.format(statements=CHANGES)))
    assert dict.fromkeys(CHANGES, "42501") == said  # insufficient_privilege


def test_connection_without_a_password_is_refused(stack: Stack) -> None:
    """The database asks everybody on its network for the password."""
    program = (
        "import psycopg\n"
        "try: psycopg.connect('postgresql://auditspan_app:wrong@postgres/auditspan')\n"
        "except psycopg.OperationalError as error: print('refused')"
    )
    assert stack.python("service", program) == "refused\n"


def test_the_collectors_files_are_in_its_container_only_to_be_read(stack: Stack) -> None:
    """The service reads audit.jsonl from the volume that the collector writes."""
    said = stack.execute(
        "service", "python", "-c", "print(open('/var/lib/otelcol/audit/audit.jsonl').read(13))"
    )
    assert said == '{"resourceLog\n'
