"""The real collector for tests: its binary, starting it, posting to it and reading its files."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import httpx

from auditspan_service.collector import Collector, CollectorPaths, build, find_binary

if TYPE_CHECKING:
    from pathlib import Path

Document = dict[str, Any]


def collector_binary() -> Path:
    """Find the binary, or build it (two minutes): a test that needs it is never skipped."""
    paths = CollectorPaths.from_environ(os.environ)
    return find_binary(paths) or build(paths, lambda text: print(text, file=sys.stderr))  # noqa: T201


def run_collector(binary: Path, directory: Path) -> Collector:
    """Start it with its files in `directory/collector`, as `auditspan up` lays them out."""
    return Collector.start(binary, directory / "collector", directory / "collector.log")


def post(url: str, document: Document) -> httpx.Response:
    """Post one OTLP/JSON document."""
    with httpx.Client(trust_env=False, timeout=60) as client:
        return client.post(url, json=document)


def read_documents(file: Path) -> list[Document]:
    """Every line of an undamaged file; a file that is not there has none."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def logs(*bodies: str) -> Document:
    """One OTLP document with a log record for each body."""
    records = [{"timeUnixNano": "1", "body": {"stringValue": body}} for body in bodies]
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": records}]}]}


def traces(name: str) -> Document:
    """One OTLP document with one span, as the collector writes it."""
    span = {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": name,
        "kind": 2,
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "2",
        "status": {},
    }
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]}


def metrics(name: str) -> Document:
    """One OTLP document with one gauge."""
    metric = {"name": name, "gauge": {"dataPoints": [{"timeUnixNano": "1", "asInt": "1"}]}}
    return {
        "resourceMetrics": [{"resource": {}, "scopeMetrics": [{"scope": {}, "metrics": [metric]}]}]
    }


def bodies(file: Path) -> list[str]:
    """The bodies of all log records in a file, in order."""
    return [
        record["body"]["stringValue"]
        for document in read_documents(file)
        for resource in document["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]
