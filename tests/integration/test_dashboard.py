"""Grafana's dashboard asks for what service, worker and verification really send."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from integration.sinks.faulty import GOOD, faulty_collector
from support.collector import read_documents, run_collector
from support.patience import PATIENCE
from support.ports import free_port
from support.program import Program
from support.running import AUDITSPAN, auditspan, clean_environment

pytestmark = pytest.mark.timeout(900)  # many processes are started first

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads(
    (ROOT / "deploy/grafana/auditspan.json").read_text(encoding="utf-8")
)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]

#: Suffixes that Prometheus gives to the units that are used here; units in braces have none.
UNITS = {"s": "_seconds"}
SELECTOR = re.compile(r"\b(?P<name>[a-z]\w*_\w+)\s*(?:\{(?P<labels>[^}]*)\})?\s*(?=[\[)])")
GROUPING = re.compile(r"\bby \((?P<labels>[^)]*)\)")
FUNCTIONS = {"histogram_quantile", "last_over_time", "sum", "max", "rate", "time"}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What has arrived in a collector, in the words of Prometheus.

    Attributes:
        labels: for each metric all labels that any of its series has.
        sinks: the sinks that have a backlog.
    """

    labels: dict[str, set[str]]
    sinks: set[str]


@pytest.fixture(scope="module")
def exported(collector_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """A service, a worker with two sinks and a verification, each a process of its own."""
    directory = tmp_path_factory.mktemp("dashboard")
    with (
        run_collector(collector_bin, directory) as collector,
        faulty_collector(lambda _: GOOD) as archive,
    ):
        environ = {
            **clean_environment(),
            "AUDITSPAN_DATA_DIR": str(directory / "data"),
            "AUDITSPAN_AUDIT_ENDPOINT": collector.audit_endpoint,
            "AUDITSPAN_MORE_SINKS": json.dumps({"archive": archive.url}),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }
        for command in (("db", "upgrade"), ("keys", "init"), ("checkpoint", "--init")):
            assert 0 == auditspan(*command, **environ).returncode
        work(directory, environ)
        file = collector.telemetry_files / "metrics.jsonl"
        wait_for(lambda: "audit.verify.time" in file.read_text(encoding="utf-8"))
        yield read(file)


def work(directory: Path, environ: dict[str, str]) -> None:
    """Some requests, sealed, delivered and verified."""
    key = json.loads(
        auditspan(
            *("keys", "create", "--username", "kim", "--scope", "admin", "--json"), **environ
        ).stdout
    )["key"]
    url = f"http://127.0.0.1:{free_port()}"
    port = url.rpartition(":")[2]
    programs = [
        Program([AUDITSPAN, *command], environ=environ, log=directory / f"{command[0]}.log")
        for command in (["serve", "--port", port], ["worker"])
    ]
    for program in programs:
        program.start()
    try:
        with httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=PATIENCE,
        ) as client:
            wait_for(lambda: is_ready(client))
            for status, username in ((201, "lee"), (409, "lee"), (201, "mia")):
                assert status == client.post("/v1/users", json={"username": username}).status_code
            wait_for(lambda: is_delivered(client))
    finally:
        assert [0, 0] == [program.stop() for program in programs]
    assert 0 == auditspan("verify", "--metrics", **environ).returncode


def is_ready(client: httpx.Client) -> bool:
    """Whether the service answers."""
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


def is_delivered(client: httpx.Client) -> bool:
    """Whether every event is sealed and acknowledged."""
    return all(event["delivered"] for event in client.get("/v1/audit-events").json()["items"])


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def read(file: Path) -> Exported:
    """Every metric in the file of a collector."""
    labels: dict[str, set[str]] = {}
    sinks: set[str] = set()
    for metric in metrics(file):
        [kind] = {"sum", "gauge", "histogram"} & metric.keys()
        for point in metric[kind]["dataPoints"]:
            pairs = {one["key"]: one["value"] for one in point.get("attributes", [])}
            for name in prometheus_names(metric, kind):
                known = labels.setdefault(name, {"le"} if name.endswith("_bucket") else set())
                known |= {key.replace(".", "_") for key in pairs}
            if metric["name"] == "audit.queue.depth":
                sinks.add(pairs["audit.sink"]["stringValue"])
    return Exported(labels=labels, sinks=sinks)


def metrics(file: Path) -> Iterator[dict[str, Any]]:
    """Every metric in the lines of a file."""
    for document in read_documents(file):
        for resource in document["resourceMetrics"]:
            for scope in resource["scopeMetrics"]:
                yield from scope["metrics"]


def prometheus_names(metric: dict[str, Any], kind: str) -> list[str]:
    """Under what names Prometheus keeps a metric that it gets over OTLP."""
    unit = metric.get("unit", "")
    base = metric["name"].replace(".", "_") + UNITS.get(unit, "")
    assert unit in UNITS or not unit or unit.startswith("{") or kind == "sum", metric
    if kind == "histogram":
        return [f"{base}_{part}" for part in ("bucket", "count", "sum")]
    return [f"{base}_total" if metric[kind].get("isMonotonic") else base]


def queries() -> list[str]:
    """Every query of every panel."""
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def asked(query: str) -> tuple[set[str], set[str]]:
    """The metrics of a query, and the labels that it needs of them."""
    found = [one for one in SELECTOR.finditer(query) if one["name"] not in FUNCTIONS]
    pairs = ",".join(one["labels"] for one in found if one["labels"])
    labels = {pair.partition("=")[0].strip() for pair in pairs.split(",") if pair}
    for grouping in GROUPING.finditer(query):
        labels |= {name.strip() for name in grouping["labels"].split(",")}
    return {one["name"] for one in found} - labels, labels


@pytest.mark.parametrize("query", queries())
def test_a_query_asks_for_what_is_sent(exported: Exported, query: str) -> None:
    """Its metrics arrive in a collector under these names, with the labels that it uses."""
    names, labels = asked(query)
    assert 1 == len(names & exported.labels.keys()) == len(names)
    [name] = names
    assert set() == labels - exported.labels[name]


def test_every_sink_has_a_backlog_of_its_own(exported: Exported) -> None:
    """The sink of AUDITSPAN_SINK and each of AUDITSPAN_MORE_SINKS."""
    assert {"otlp", "archive"} == exported.sinks


def test_the_dashboard_shows_what_it_is_for() -> None:
    """Requests, commit latency, backlog, lag, verification, and that nothing was lost."""
    text = " ".join(queries())
    for name in (
        "http_server_request_duration_seconds_count",
        'db_client_operation_duration_seconds_bucket{db_operation_name="COMMIT"}',
        "audit_queue_depth",
        "audit_seal_lag_seconds",
        "audit_verify_findings",
        "audit_records_dropped_total",
    ):
        assert name in text


def test_the_panels_are_whole() -> None:
    """Each has an id, a title and a description of its own, lies on the grid, and is drawn."""
    for member in ("id", "title", "description"):
        assert len(PANELS) == len({panel[member] for panel in PANELS})
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert {"uid": "prometheus", "type": "prometheus"} == panel["datasource"]
        ids = [target["refId"] for target in panel["targets"]]
        assert len(ids) == len(set(ids))


def test_compose_mounts_the_dashboard_where_grafana_looks() -> None:
    """The provider's directory holds the dashboard, which is also the first page."""
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    grafana = compose["services"]["grafana"]
    mounted = {one["source"]: one["target"] for one in grafana["configs"]}
    provider = yaml.safe_load((ROOT / "deploy/grafana/provider.yaml").read_text(encoding="utf-8"))
    [place] = [one["options"]["path"] for one in provider["providers"]]
    dashboard = mounted["grafana-dashboard"]
    assert str(Path(place) / "auditspan.json") == dashboard
    assert dashboard == grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert "./deploy/grafana/auditspan.json" == compose["configs"]["grafana-dashboard"]["file"]
    assert mounted["grafana-provider"].endswith("/provisioning/dashboards/auditspan.yaml")
