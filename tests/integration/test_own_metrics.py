"""What the service measures beside its instrumentations: COMMIT and ROLLBACK, and verification."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.utils import suppress_instrumentation

from auditspan.telemetry.scope import SCHEMA_URL
from auditspan.verify.finding import Finding
from auditspan.verify.state import Difference, StateReport
from auditspan.verify.trail import VerifyReport
from auditspan_service.config import load_settings
from auditspan_service.telemetry.instrumentation import instrument_engine
from auditspan_service.telemetry.providers import Telemetry, TelemetryConfig, setup_telemetry
from auditspan_service.telemetry.reporting import report_verified
from support.collector import read_documents

DURATION = "db.client.operation.duration"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An instrumented engine, and the file that its metrics go to."""

    engine: sa.Engine
    telemetry: Telemetry
    files: Path

    def durations(self) -> dict[tuple[str, str | None], int]:
        """How many ends of transactions were measured, by operation and error."""
        assert self.telemetry.force_flush()
        points = metrics(self.files).get(DURATION, {"histogram": {"dataPoints": []}})
        found = {}
        for point in points["histogram"]["dataPoints"]:
            values = {one["key"]: one["value"]["stringValue"] for one in point["attributes"]}
            assert "sqlite" == values["db.system.name"]
            assert 0.001 == point["explicitBounds"][0]  # seconds
            key = values["db.operation.name"], values.get("error.type")
            found[key] = int(point["count"])
        return found


def metrics(files: Path) -> dict[str, dict[str, Any]]:
    """The newest state of every metric, by its name."""
    return {
        metric["name"]: metric
        for document in read_documents(files / "telemetry" / "metrics.jsonl")
        for resource in document["resourceMetrics"]
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
    }


@pytest.fixture
def measured(tmp_path: Path) -> Iterator[Measured]:
    """SQLite with a foreign key that is checked by COMMIT."""
    telemetry = setup_telemetry(TelemetryConfig(sink="file", files=tmp_path, install_global=False))
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    instrument_engine(engine, telemetry)
    with suppress_instrumentation(), engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql(
            "CREATE TABLE b (a REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)"
        )
    yield Measured(engine=engine, telemetry=telemetry, files=tmp_path)
    engine.dispose()
    telemetry.shutdown()


def test_every_end_of_a_transaction_is_measured(measured: Measured) -> None:
    """Also outside of a request, where it has no span; what is suppressed is not measured."""
    for number in range(3):
        with measured.engine.begin() as connection:
            connection.exec_driver_sql(f"INSERT INTO a VALUES ({number})")  # noqa: S608 (a number)
    with measured.engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO a VALUES (4)")
        connection.rollback()
    with suppress_instrumentation(), measured.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO a VALUES (5)")
    assert {("COMMIT", None): 3, ("ROLLBACK", None): 1} == measured.durations()


def test_a_commit_that_fails_is_measured_with_its_error(measured: Measured) -> None:
    """Its duration stands apart from those that succeeded."""
    with suppress(sa.exc.IntegrityError), measured.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.commit()
        connection.exec_driver_sql("INSERT INTO b VALUES (7)")
        connection.commit()
    found = measured.durations()
    assert {("COMMIT", None): 1, ("COMMIT", "sqlite3.IntegrityError"): 1} == {
        key: found[key] for key in found if key[0] == "COMMIT"
    }


BAD = Finding(kind="mac", seq=1, row_id=1, event_id=None, detail="")
NOTICE = Difference(kind="unknown-type", table="x")
DIFFERENCE = Difference(kind="field", table="x")


@pytest.mark.parametrize(
    ("findings", "live", "expected"),
    [
        ([], None, 0),
        ([BAD, BAD], None, 2),
        ([], [NOTICE], 0),
        ([BAD], [NOTICE, DIFFERENCE], 2),
    ],
)
def test_a_verification_says_how_it_ended(
    tmp_path: Path, findings: list[Finding], live: list[Difference] | None, expected: int
) -> None:
    """Everything that is not as it was written counts, and notices do not."""
    settings = load_settings(sink="file", data_dir=tmp_path, collector_files=tmp_path)
    report = VerifyReport(
        rows=8, unsealed=1, tree_size=7, root="", checkpoints=1, findings=findings
    )
    state = None if live is None else StateReport(events=1, objects=1, differences=live)
    report_verified(settings, report, state)
    said = {name: metric["gauge"]["dataPoints"][0] for name, metric in metrics(tmp_path).items()}
    assert {"audit.verify.findings", "audit.verify.sealed", "audit.verify.time"} == said.keys()
    assert (str(expected), "7") == tuple(
        said[f"audit.verify.{name}"]["asInt"] for name in ("findings", "sealed")
    )
    assert said["audit.verify.time"]["asDouble"] > 1.7e9


def test_connections_are_counted_under_the_current_names(measured: Measured) -> None:
    """The name of the semantic conventions, with pool and state, and not that of 2023."""
    with measured.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    assert measured.telemetry.force_flush()
    found = metrics(measured.files)
    assert "db.client.connections.usage" not in found
    points = found["db.client.connection.count"]["sum"]["dataPoints"]
    assert [{"db.client.connection.pool.name", "db.client.connection.state"}] * len(points) == [
        {one["key"] for one in point["attributes"]} for point in points
    ]
    assert {"idle", "used"} == {
        one["value"]["stringValue"]
        for point in points
        for one in point["attributes"]
        if one["key"] == "db.client.connection.state"
    }


def test_every_scope_has_a_version_and_a_schema(measured: Measured) -> None:
    """Of the service's own meters, and of the instrumentation that it starts itself."""
    with measured.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO a DEFAULT VALUES")
    assert measured.telemetry.force_flush()
    scopes = {
        scope["scope"]["name"]: (bool(scope["scope"].get("version")), scope.get("schemaUrl"))
        for document in read_documents(measured.files / "telemetry" / "metrics.jsonl")
        for resource in document["resourceMetrics"]
        for scope in resource["scopeMetrics"]
    }
    whole = (True, SCHEMA_URL)
    assert {
        "auditspan_service": whole,
        "opentelemetry.instrumentation.sqlalchemy": whole,
    } == scopes
