"""The requests of the tour, and a check of the records that each one produced.

The requests are made through HTTP, as by any client. The check does not rely on the responses: it
reads the audit rows from the database, and the span events and log records from the collector's
files, and joins the three on the trace id of each response.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import urllib3
from opentelemetry.instrumentation.utils import suppress_instrumentation

from auditspan import CollectorFilesError
from auditspan.storage import EventFilter, StoredEvent, audit_tables, find_events
from auditspan.storage.keys import load_or_create_mac_key
from auditspan.telemetry import semconv
from auditspan.telemetry.otlp import read_logs, read_spans
from auditspan.verify import ReconcileReport, VerifyReport, reconcile, verify_trail
from auditspan_service.models import Base
from auditspan_service.tour.stage import Stage
from auditspan_service.tour.story import STORY, Step
from auditspan_service.tour.tampering import tamper

WAIT_SECONDS = 60.0
"""Time limit for the telemetry to arrive."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Records of one request, by place."""

    step: Step
    status: int
    trace_id: str
    rows: list[StoredEvent] = field(default_factory=list)
    span_events: list[str] = field(default_factory=list)
    log_records: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Success: the expected response, and the expected events in all three places."""
        bodies = {event["event_id"]: row.body for row, event in self._events()}
        return (
            self.status == self.step.status
            and self.step.accepts(self.actions)
            and sorted(self.span_events) == sorted(bodies)
            and self.log_records == bodies
        )

    @property
    def actions(self) -> tuple[str, ...]:
        """Actions of the recorded events, in order."""
        return tuple(event["action"] for _row, event in self._events())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "title": self.step.title,
            "request": f"{self.step.method} {self.step.path}",
            "status": self.status,
            "trace_id": self.trace_id,
            "actions": list(self.actions),
            "rows": len(self.rows),
            "span_events": len(self.span_events),
            "log_records": len(self.log_records),
            "ok": self.ok,
        }

    def _events(self) -> Iterator[tuple[StoredEvent, dict[str, Any]]]:
        for row in self.rows:
            yield row, row.resource()


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Result of the whole tour."""

    traces: list[Trace]
    verified: VerifyReport
    reconciled: ReconcileReport
    tampered: VerifyReport | None = None
    """Verification of a copy that was tampered with; None where no copy is made."""

    @property
    def counts(self) -> tuple[int, int, int]:
        """Numbers of audit rows, span events and log records."""
        return (
            sum(len(trace.rows) for trace in self.traces),
            sum(len(trace.span_events) for trace in self.traces),
            sum(len(trace.log_records) for trace in self.traces),
        )

    @property
    def joined(self) -> bool:
        """True if every request produced the expected records in all three places."""
        return all(trace.ok for trace in self.traces)

    @property
    def ok(self) -> bool:
        """True if all records match, the trail is verified and everything was delivered."""
        return self.joined and self.verified.ok and self.reconciled.ok and self.is_caught

    @property
    def is_caught(self) -> bool:
        """True if the findings in the copy name the forged event, and no other."""
        if self.tampered is None:
            return True
        return {finding.event_id for finding in self.tampered.findings} == {self.event_id}

    @property
    def event_id(self) -> str:
        """The id of the event that `update` left, and that is forged in the copy."""
        return str(json.loads(self.update.rows[0].body)["event_id"])

    @property
    def update(self) -> Trace:
        """The request that changes the user."""
        return next(trace for trace in self.traces if trace.step.actions == ("user.update",))

    @property
    def user_id(self) -> str:
        """The id of the user that the requests change."""
        return str(json.loads(self.traces[0].rows[0].body)["target"]["id"])


def run_story(stage: Stage, report: Callable[[Trace], None]) -> list[Trace]:
    """Make the requests of the tour one after the other; pass each result to `report`."""
    story = _Story(stage)
    traces = []
    for step in STORY:
        if step.key == "reader" and stage.reader is None:
            continue
        traces.append(story.request(step))
        report(traces[-1])
    return traces


def prove(stage: Stage, traces: list[Trace]) -> Proof:
    """Wait for the telemetry of the requests, read it, and join it with the rows.

    On a service with other callers, some row is always in transit: a row counts as missing only if
    it was missing in every comparison.
    """
    stage.flush()
    deadline = time.monotonic() + WAIT_SECONDS
    missing: set[str] | None = None
    while True:
        is_late = time.monotonic() > deadline
        try:
            proof = _read_back(stage, traces)
        except CollectorFilesError:  # no record has been written yet
            if is_late:
                raise
        else:
            now = set(proof.reconciled.missing)
            missing = now if missing is None else missing & now
            proof.reconciled.missing = sorted(missing)
            if proof.ok or is_late:
                return _with_tampering(proof, stage)
        time.sleep(0.2)


def _with_tampering(proof: Proof, stage: Stage) -> Proof:
    """Tamper with a copy of the database, if the service is the tour's own, on SQLite."""
    if not (stage.is_own and proof.joined):
        return proof
    copy = stage.settings.data_dir / "tampered.db"
    return replace(proof, tampered=tamper(stage.settings, proof.event_id, copy))


class _Story:
    """HTTP client that remembers the user it created and its entity tags."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._user = ""
        self._tags: list[str] = []
        self._event_id = str(uuid4())
        self._http = urllib3.PoolManager(retries=False)

    def request(self, step: Step) -> Trace:
        stage = self._stage
        base = stage.extra_url if step.is_extra else stage.url
        answer = self._http.request(
            step.method,
            base + step.path.format(user=self._user, name=stage.username),
            json=self._body(step),
            headers=self._headers(step),
            timeout=30.0,
        )
        self._user = self._user or answer.headers.get("Location", "").removeprefix(stage.url)
        if "ETag" in answer.headers:
            self._tags.append(answer.headers["ETag"])
        trace_id = answer.headers["traceresponse"].split("-")[1]
        return Trace(step=step, status=answer.status, trace_id=trace_id)

    def _body(self, step: Step) -> object:
        names = {"{name}": self._stage.username, "{event_id}": self._event_id}
        return _filled(step.body, names) if step.body else None

    def _headers(self, step: Step) -> dict[str, str]:
        key = self._stage.key if step.key == "own" else self._stage.reader
        headers = {"Authorization": f"Bearer {key}"} if step.key else {}
        if step.if_match:
            headers["If-Match"] = self._tags[0 if step.if_match == "first" else -1]
        return headers


def _filled(value: object, names: dict[str, str]) -> object:
    """Replace the strings that stand for something of this tour."""
    if isinstance(value, dict):
        return {name: _filled(member, names) for name, member in value.items()}
    return names.get(value, value) if isinstance(value, str) else value


def _read_back(stage: Stage, traces: list[Trace]) -> Proof:
    tables = audit_tables(Base.metadata)
    files = stage.settings.collector_files
    with suppress_instrumentation(), stage.database.reading() as session:
        connection = session.connection()
        traces = [
            Trace(
                step=trace.step,
                status=trace.status,
                trace_id=trace.trace_id,
                rows=find_events(connection, tables, EventFilter(trace_id=trace.trace_id), after=0),
                span_events=_span_events(stage, trace.trace_id),
                log_records=_log_records(stage, trace.trace_id),
            )
            for trace in traces
        ]
        return Proof(
            traces=traces,
            verified=verify_trail(
                connection,
                tables,
                load_or_create_mac_key(stage.settings.mac_key_file, create=False),
            ),
            reconciled=reconcile(connection, tables, [files / "audit"]),
        )


def _span_events(stage: Stage, trace_id: str) -> list[str]:
    spans = read_spans(stage.settings.collector_files / "telemetry", trace_id=trace_id)
    return [
        str(event.attributes[semconv.RECORD_ID])
        for span in spans
        for event in span.events
        if semconv.RECORD_ID in event.attributes
    ]


def _log_records(stage: Stage, trace_id: str) -> dict[str, str]:
    logs = read_logs(stage.settings.collector_files / "audit", trace_id=trace_id)
    return {str(log.attributes[semconv.RECORD_ID]): str(log.body) for log in logs}
