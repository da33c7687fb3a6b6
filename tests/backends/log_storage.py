"""Audit records that VictoriaLogs has."""

from __future__ import annotations

import json
from typing import Any

import httpx

from auditspan.telemetry import semconv
from backends.running import Backend
from backends.seen import Change
from support.relaying import wait_for


def records(backend: Backend, query: str) -> list[dict[str, Any]]:
    """The audit records that VictoriaLogs finds."""
    answer = httpx.get(
        f"{backend.url}/select/logsql/query",
        params={"query": f'{query} "{semconv.RECORD_ID}":*'},
        trust_env=False,
        timeout=60,
    )
    assert answer.is_success, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def arrived(backend: Backend, change: Change) -> dict[str, Any]:
    """The record of a change, as soon as VictoriaLogs has it."""
    query = f"trace_id:={change.trace_id}"
    wait_for(lambda: len(records(backend, query)) == 1)
    [record] = records(backend, query)
    return record
