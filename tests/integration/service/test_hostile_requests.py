"""A thousand hostile requests to the whole service: gunicorn, worker and files."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.service.test_refused_requests import exchange
from support.patience import PATIENCE
from support.running import Up

REQUESTS = [200, pytest.param(1000, marks=pytest.mark.slow)]
SECRET = "c0ffee5ecret"
CONTROLS = [
    "\x00",
    "\x01",
    "\x1b[31m",
    "\x7f",
    "\t",
    "\x0b",
    "\r\n X: folded",
    "\x85",
    "\xa0",
    "\xff",
]
TRACES = [
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
    "ff-" + "g" * 32 + "-x-01",
    "00-" + "a" * 9000,
    f"{SECRET}-\n",
    "",
]
FORWARDED = [
    f"for={SECRET};host=evil.example;proto=https",
    "127.0.0.1, ::1, unknown, _hidden, 999.999.999.999",
    '"[2001:db8::1]:0x1"',
    "1.2.3.4'; DROP TABLE users; --",
    "x" * 3000,
]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The service, and the places where it could leave something."""

    up: Up
    folder: Path
    port: int


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    """`auditspan up` with files and no collector; its console is in a file."""
    environ = {
        "AUDITSPAN_SINK": "file",
        "AUDITSPAN_RATE_LIMIT": "off",
        "AUDITSPAN_FAILURE_LIMIT": "off",
        "AUDITSPAN_RECORD_ACCESS": "1",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    }
    with Up(tmp_path / "data", environ=environ) as up:
        yield Target(up=up, folder=tmp_path, port=up.client.base_url.port or 0)


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """The maker of requests: valid ones with something hostile in each."""

    source: random.Random
    key: str

    def request(self) -> str:
        """One request as it is on the wire."""
        method, path, body = self.source.choice(
            [self._user, self._event, self._logs, self._search]
        )()
        head = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *self._headers()]
        head += [f"Content-Length: {len(body.encode())}", "Content-Type: application/json"]
        return "\r\n".join(head) + "\r\n\r\n" + body.encode().decode("latin-1")

    def _headers(self) -> Iterator[str]:
        """Most requests have a valid key."""
        key = self.source.choice([self.key] * 4 + [f"ask_1_{SECRET}", f"{self.key}{SECRET}"])
        yield f"Authorization: Bearer {key}"
        for name, values in {
            "traceparent": TRACES,
            "tracestate": [f"v={SECRET}", "=", "," * 600],
            "baggage": [f"password={SECRET}", "a=b;c=%", "x" * 4000],
            "X-Forwarded-For": FORWARDED,
            "X-Forwarded-Host": FORWARDED,
            "X-Forwarded-Proto": ["https, http", SECRET, ""],
            "X-Forwarded-Prefix": ["/../../", f"//{SECRET}"],
            "Forwarded": FORWARDED,
            "X-Request-ID": [self._controls("r"), "x" * 3000, "${jndi:ldap://x}"],
            "User-Agent": [self._controls("curl"), "x" * 3000, "a\x1b]0;b\x07"],
            "Cookie": [f"session={SECRET}", "=;=;"],
            "If-Match": [f'"{SECRET}"', "*", self._controls("x")],
            "Idempotency-Key": [SECRET, "x" * 3000],
            "X-Api-Key": [SECRET],
        }.items():
            if self.source.random() < 0.3:
                yield f"{name}: {self.source.choice(values)}"

    def _controls(self, text: str) -> str:
        return text + "".join(self.source.sample(CONTROLS, 2))

    def _text(self) -> str:
        """A text with line ends, escapes and characters that look like others."""
        odd = [
            "\n",
            "\r\n",
            "\u2028",
            "\x1b[2J",
            "\u202e",
            "=cmd|' /C calc'!A0",
            '","x":"',
            "\ud83d",
        ]
        return "".join(self.source.choices([*odd, "kim", "<script>", "{{7*7}}", "%00", "'--"], k=4))

    def _user(self) -> tuple[str, str, str]:
        number = self.source.randrange(10**9)
        members = {
            "username": f"u{number}",
            "full_name": self._text(),
            self.source.choice(["email", "password", "full_name", "__proto__"]): self._text(),
        }
        method, path = self.source.choice([("POST", "/v1/users"), ("PATCH", "/v1/users/1")])
        return method, path, json.dumps(members)

    def _event(self) -> tuple[str, str, str]:
        event = {
            "action": self.source.choice(["note.made", "note\n.made", "user.delete"]),
            "reason": self._text(),
            "changes": {"password": {"new": SECRET}, "text": {"new": self._text()}},
            "metadata": {
                "api_key": SECRET,
                "nested": [{"token": SECRET, "ratio": 1.5}],
                "note": self._text(),
            },
        }
        return "POST", "/v1/audit-events", json.dumps(event)

    def _logs(self) -> tuple[str, str, str]:
        attributes = {"audit.action": "note.made", "password": SECRET, "text": self._text()}
        attributes["audit.changes"] = json.dumps({"secret": {"old": SECRET}})
        pairs = [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()]
        scope = {"scopeLogs": [{"logRecords": [{"attributes": pairs}]}]}
        return "POST", "/v1/logs", json.dumps({"resourceLogs": [scope]})

    def _search(self) -> tuple[str, str, str]:
        path = self.source.choice(
            [
                "/v1/audit-events?actor=%0d%0aX-Evil:1",
                "/v1/audit-events?text=%27%29%20OR%201=1--",
                "/v1/audit-events/..%2f..%2fetc%2fpasswd",
                "/v1/history/user/%00",
                "/v1/audit-events/export?action=*.*.*.*&text=%25%25",
                "/v1/users/1%0aadmin",
                "/%2e%2e/%2e%2e/etc/passwd",
            ]
        )
        return "GET", path, ""


def status(answer: bytes) -> int:
    """The status of an answer."""
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer[9:12])


def recorded(folder: Path) -> list[str]:
    """The bodies in the table."""
    with sqlite3.connect(folder / "data" / "auditspan.db") as connection:
        return [body for (body,) in connection.execute("SELECT body FROM audit_event")]


def delivered(target: Target) -> list[dict[str, object]]:
    """The log records of the audit file: one document for each line."""
    lines = (target.up.said.audit_files / "audit.jsonl").read_bytes().split(b"\n")
    return [
        record
        for line in lines
        if line
        for resource in json.loads(line)["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
        if record.get("eventName") != "audit.checkpoint"
    ]


def wait_for_delivery(target: Target) -> None:
    """Wait until every row is in the file."""
    until = time.monotonic() + PATIENCE
    while len(delivered(target)) < len(recorded(target.folder)):
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.parametrize("requests", REQUESTS)
def test_hostile_requests_break_nothing_and_leave_no_secret(target: Target, requests: int) -> None:
    """No answer is a server error; no secret is in a table, a file, the console or a metric.

    Each row is one log record with the same body on one line, and the trail verifies.
    """
    attacker = Attacker(source=random.Random(16), key=target.up.key)  # noqa: S311 (no secret)
    answers = Counter(status(exchange(target.port, attacker.request())) for _ in range(requests))
    assert {} == {code: n for code, n in answers.items() if code >= 500}
    assert {200, 201, 400, 401, 422} <= answers.keys()
    wait_for_delivery(target)
    bodies = [record["body"]["stringValue"] for record in delivered(target)]  # type: ignore[index]
    assert sorted(recorded(target.folder)) == sorted(bodies)
    verified = target.up.client.get("/v1/checkpoints/latest").json()
    assert verified["tree_size"] >= len(bodies) - 1
    time.sleep(2)  # for the last metrics
    assert 0 == target.up.stop()
    places = {
        path.relative_to(target.folder): path.read_bytes()
        for path in target.folder.rglob("*")
        if path.is_file()
    }
    assert [] == [str(path) for path, data in places.items() if SECRET.encode() in data]
    console = places[Path("data.err")]
    assert b"\x1b" not in console
    assert [] == [line for line in console.splitlines() if not is_record(line)]


def is_record(line: bytes) -> bool:
    """Whether a line of the console is one whole log record, or a sentence of the command."""
    if line.startswith(b"{"):
        return isinstance(json.loads(line), dict)
    return b"kim" not in line and b"script" not in line
