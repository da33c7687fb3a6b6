"""`auditspan doctor` and `auditspan db check|guard`: what is wrong, and what to do."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from auditspan.delivery import OtlpSink, Relay
from auditspan.errors import SinkUnavailableError
from auditspan.seal import Sealer
from auditspan.storage import audit_tables
from auditspan_service.cli import main
from auditspan_service.collector import Collector, config_file
from auditspan_service.database.engine import make_engine
from auditspan_service.models import Base
from integration.sinks.faulty import GOOD, Answer, faulty_collector
from support.collector import read_documents, run_collector
from support.migrated import migrated_sqlite
from support.roles import Deployed, deployed_database
from support.running import Up

UNUSED = "http://127.0.0.1:1/v1/audit"


@dataclass(kw_only=True)
class Place:
    """A data directory with its settings, in which commands run in this process."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> Result:
        """One command to its end."""
        environ = {"AUDITSPAN_DATA_DIR": str(self.folder), **self.environ}
        return CliRunner().invoke(main, arguments, env=environ, prog_name="auditspan")

    def doctor(self, *arguments: str) -> tuple[int, dict[str, str], list[str]]:
        """Exit code, what is wrong by its kind, and what could not be looked at."""
        done = self.run("doctor", "--json", *arguments)
        said = json.loads(done.stdout)
        assert said["ok"] == (done.exit_code == 0)
        found = {one["kind"]: one["detail"] for one in said["findings"]}
        assert len(found) == len(said["findings"])
        return done.exit_code, found, said["unchecked"]

    def execute(self, *statements: str) -> None:
        """Do something to the database."""
        engine = make_engine(f"sqlite:///{self.folder / 'auditspan.db'}")
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()


@pytest.fixture(scope="module")
def collector(collector_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """The real collector, for all tests."""
    with run_collector(collector_bin, tmp_path_factory.mktemp("collector")) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, collector: Collector) -> Place:
    """A set-up in which nothing is wrong, on SQLite."""
    made = Place(
        folder=tmp_path / "data", environ={"AUDITSPAN_AUDIT_ENDPOINT": collector.audit_endpoint}
    )
    migrated_sqlite(made.folder / "auditspan.db")
    for command in (("keys", "init"), ("checkpoint", "--init")):
        assert made.run(*command).exit_code == 0
    return made


def test_nothing_is_wrong(place: Place, collector: Collector) -> None:
    """Exit code 0, in words and as JSON; and the collector's file has got nothing."""
    assert (0, {}, []) == place.doctor()
    done = place.run("doctor")
    assert (0, "No problems found.\n") == (done.exit_code, done.stdout)
    files = collector.log_file.parent / "collector"
    assert files.is_dir()
    assert [] == read_documents(files / "audit" / "audit.jsonl")


def test_backlog_of_each_sink_is_reported(place: Place) -> None:
    """Sealed rows that wait are no problem; their number, age and mode are told."""
    place.environ["AUDITSPAN_AUDIT_ACKNOWLEDGEMENT"] = "http"
    assert place.run("keys", "create", "--username", "kim", "--scope", "admin").exit_code == 0
    engine = make_engine(f"sqlite:///{place.folder / 'auditspan.db'}")
    sealed = Sealer(engine, audit_tables(Base.metadata)).seal()
    engine.dispose()
    told = json.loads(place.run("doctor", "--json").stdout)
    waiting = told["sinks"]["otlp"]
    assert (sealed, 0, "http") == (
        waiting["rows"],
        waiting["quarantined"],
        waiting["acknowledgement"],
    )
    lines = place.run("doctor").stdout.splitlines()
    assert lines[0].startswith(f"otlp: {sealed} records undelivered, the oldest for ")
    assert lines[1].startswith("note: AUDITSPAN_AUDIT_ENDPOINT: acknowledgement is http")
    assert ["No problems found."] == lines[2:]


def test_doctor_reports_the_delivery_to_each_sink(place: Place) -> None:
    """The rate, and the last error with its age, whether it lasts or is over."""
    assert place.run("keys", "create", "--username", "kim", "--scope", "admin").exit_code == 0
    tables = audit_tables(Base.metadata)
    engine = make_engine(f"sqlite:///{place.folder / 'auditspan.db'}")
    sealed = Sealer(engine, tables).seal()
    refused = Answer(status=503, body=b"disk full", headers={})
    with faulty_collector(lambda _: refused) as receiver, engine.connect() as connection:
        relay = Relay(engine, tables, OtlpSink(receiver.url))
        with pytest.raises(SinkUnavailableError):
            relay.deliver(connection)
        failing = place.run("doctor").stdout.splitlines()[0]
        receiver.rule = lambda _: GOOD
        assert relay.deliver(connection) == sealed
    recovered = place.run("doctor").stdout.splitlines()[0]
    engine.dispose()
    said = f"the collector at {receiver.url} answered HTTP 503: disk full"
    assert "; 0.0 delivered per second; acknowledgement strict; last error " in failing
    assert re.search(r"; last error \d+ s ago \(failing, 1 attempt so far\): ", failing)
    assert failing.endswith(f" (failing, 1 attempt so far): {said}")
    assert recovered.startswith(f"otlp: 0 records undelivered; {sealed / 60:.1f} delivered per ")
    assert recovered.endswith(f" (recovered): {said}")


def test_a_fresh_machine(tmp_path: Path) -> None:
    """Each sentence says what to do first; looking has made nothing."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}/v1/audit"
        fresh = Place(folder=tmp_path / "data", environ={"AUDITSPAN_AUDIT_ENDPOINT": endpoint})
        code, found, unchecked = fresh.doctor()
    assert (1, []) == (code, unchecked)
    assert ["schema", "mac-key", "signing-key", "collector"] == list(found)
    assert "auditspan db upgrade" in found["schema"]
    assert "auditspan keys init" in found["mac-key"]
    assert "auditspan checkpoint --init" in found["signing-key"]
    assert "Records wait in the table" in found["collector"]
    assert not fresh.folder.exists()


def test_a_missing_trigger(place: Place) -> None:
    """Doctor and `db check` name it, `db guard` puts it back and says that it was gone."""
    place.execute("DROP TRIGGER audit_event_no_update")
    code, found, _ = place.doctor()
    assert (1, ["trigger"]) == (code, list(found))
    assert "audit_event_no_update on audit_event is missing" in found["trigger"]
    checked = place.run("db", "check")
    assert 1 == checked.exit_code
    assert found["trigger"] in checked.stdout
    for command in ("serve", "worker"):
        refused = place.run(command)
        assert (2, "") == (refused.exit_code, refused.stdout)
        assert f"Nothing was started. {found['trigger']}" in refused.stderr
    mended = place.run("db", "guard")
    assert (0, True) == (mended.exit_code, found["trigger"] in mended.stdout)
    assert "were already in place" in place.run("db", "guard").stdout
    assert (0, {}, []) == place.doctor()
    assert 0 == place.run("db", "check").exit_code


def test_keys(place: Place) -> None:
    """A key file must be there, whole, and closed to others."""
    mac, signing = (place.folder / "keys" / name for name in ("mac.key", "signing.key"))
    mac.chmod(0o644)
    signing.write_text("nonsense")
    code, found, _ = place.doctor()
    assert (1, {"mac-key", "signing-key"}) == (code, set(found))
    assert f"{mac} is accessible to other users (mode 0644)" in found["mac-key"]
    assert f"run `chmod 600 {mac}`" in found["mac-key"]
    assert str(signing) in found["signing-key"]
    assert "nonsense" not in found["signing-key"]
    mac.unlink()
    _, found, _ = place.doctor()
    assert "auditspan keys init" in found["mac-key"]


def test_misspelled_variable_is_reported(place: Place) -> None:
    """The message names the setting that it resembles; other names may be another program's."""
    place.environ |= {"AUDITSPAN_SIGNIN_KEY_FILE": "/keys/signing.key", "AUDITSPAN_SHOP": "1"}
    code, found, _ = place.doctor()
    assert (1, ["settings"]) == (code, [*found])
    assert (
        "AUDITSPAN_SIGNIN_KEY_FILE is not a setting and is ignored: did you mean "
        "AUDITSPAN_SIGNING_KEY_FILE?"
    ) == found["settings"]


def test_collector_configuration(place: Place, tmp_path: Path) -> None:
    """The files that are given are looked at, later ones over earlier ones."""
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("service: {pipelines: {logs/audit: {processors: [batch]}}}")
    code, found, _ = place.doctor(
        "--collector-config", str(config_file()), "--collector-config", str(overlay)
    )
    assert (1, ["collector-config"]) == (code, list(found))
    assert "The pipeline logs/audit has the processor batch" in found["collector-config"]
    assert str(overlay) in found["collector-config"]


@pytest.mark.parametrize("content", [None, b"[", b"\xff"])
def test_collector_configuration_that_cannot_be_read(
    place: Place, tmp_path: Path, content: bytes | None
) -> None:
    """What could not be looked at is said, and exit code 2."""
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    code, found, unchecked = place.doctor("--collector-config", str(path))
    assert (2, {}) == (code, found)
    (said,) = unchecked
    assert f"The collector's configuration {path} was not checked: " in said
    assert "not checked: " in place.run("doctor", "--collector-config", str(path)).stdout


@pytest.mark.parametrize("has_collector", [True, False], ids=["collector", "files"])
def test_nothing_is_wrong_beside_a_running_up(
    tmp_path: Path, collector_bin: Path, *, has_collector: bool
) -> None:
    """The sink is that of `up` while it runs, however it ends."""
    beside = Place(folder=tmp_path / "data", environ={"AUDITSPAN_AUDIT_ENDPOINT": UNUSED})
    environ = {"OTELCOL_BIN": str(collector_bin)} if has_collector else {"AUDITSPAN_SINK": "file"}
    with Up(beside.folder, environ=environ) as up:
        assert (0, {}, []) == beside.doctor()
        up.kill()
        code, found, _ = beside.doctor()
    assert (1, ["collector"]) == (code, list(found))


def test_sinks(place: Place) -> None:
    """Without a collector in the settings none is asked for; the console keeps nothing."""
    place.environ["AUDITSPAN_AUDIT_ENDPOINT"] = "http://127.0.0.1:1/v1/audit"
    place.environ["AUDITSPAN_SINK"] = "file"
    assert (0, {}, []) == place.doctor()
    place.environ["AUDITSPAN_SINK"] = "console"
    code, found, _ = place.doctor()
    assert (1, ["sink"]) == (code, list(found))


def test_a_database_that_does_not_answer(place: Place) -> None:
    """It was not checked, and the rest was; the password is not repeated."""
    place.environ["AUDITSPAN_DATABASE_URL"] = "postgresql://kim:hunter2@127.0.0.1:1/x"
    code, found, unchecked = place.doctor()
    assert (2, {}) == (code, found)
    (said,) = unchecked
    assert said.startswith("The database did not answer: ")
    assert "hunter2" not in said


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    """The roles and rights of a deployment."""
    with deployed_database() as made:
        yield made


def as_role(place: Place, deployed: Deployed, role: str) -> Place:
    """The same set-up with the database as this role sees it."""
    return Place(
        folder=place.folder, environ={**place.environ, "AUDITSPAN_DATABASE_URL": deployed.url(role)}
    )


def test_deployed_roles(place: Place, deployed: Deployed) -> None:
    """Each is asked for the keys that it needs; the signing key belongs to the worker alone."""
    worker, app, auditor = (as_role(place, deployed, r) for r in ("worker", "app", "auditor"))
    assert (0, {}, []) == worker.doctor()
    code, found, _ = app.doctor()
    assert (1, ["signing-key"]) == (code, list(found))
    assert "Give the key to the worker only" in found["signing-key"]
    (place.folder / "keys" / "signing.key").unlink()
    assert (0, {}, []) == app.doctor()
    (place.folder / "keys" / "mac.key").unlink()
    assert (0, {}, []) == auditor.doctor()
    assert ["mac-key"] == list(app.doctor()[1])
    assert ["mac-key", "signing-key"] == list(worker.doctor()[1])


def test_the_owner_may_check_and_must_not_serve(place: Place, deployed: Deployed) -> None:
    """`db check` is the owner's after an upgrade; doctor, serve and worker refuse such a role."""
    owner = as_role(place, deployed, "migrator")
    code, found, _ = owner.doctor()
    assert 1 == code
    assert "owns audit_checkpoint, audit_disclosure, audit_event" in found["role"]
    checked = owner.run("db", "check", "--json")
    said: dict[str, Any] = json.loads(checked.stdout)
    assert (0, True) == (checked.exit_code, said["ok"])
    assert [found["role"]] == [one["detail"] for one in said["findings"] if one["kind"] == "role"]
    for command in ("serve", "worker"):
        refused = owner.run(command)
        assert (2, "") == (refused.exit_code, refused.stdout)
        assert found["role"] in refused.stderr
        assert "AUDITSPAN_ALLOW_UNGUARDED=1 overrides this" in refused.stderr
