"""Clients of a service: each has a connection that stays open, and a user that it changes."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import count
from typing import Any, Literal

Operation = Literal["POST", "PATCH"]

_numbers = count()
_SECONDS = 120
_LEAST = 2
"""The requests that a client sends even if they take longer than the measurement."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the clients of one measurement saw.

    Attributes:
        per_second: answered requests per second.
        median: the median latency in milliseconds.
        p99: its 99th percentile.
    """

    per_second: float
    median: float
    p99: float


class Client:
    """One client of the service on a port of this machine."""

    def __init__(self, port: int, key: str, user: int | None = None) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._user = user

    def send(self, operation: Operation) -> None:
        """Send one request, and require that it is answered well."""
        if operation == "POST":
            self.add()
            return
        members = {"full_name": f"Kim Park {next(_numbers)}"}
        self._request("PATCH", f"/v1/users/{self._user}", members, {"If-Match": "*"})

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def add(self) -> int:
        """Add a user; the id."""
        name = f"user-{time.time_ns()}-{next(_numbers)}"
        members = {"username": name, "email": f"{name}@example.org", "full_name": "Kim"}
        return int(self._request("POST", "/v1/users", members, {})["id"])

    def _request(
        self, method: str, path: str, members: dict[str, str], headers: dict[str, str]
    ) -> dict[str, Any]:
        body = json.dumps(members).encode()
        self._connection.request(method, path, body, {**self._headers, **headers})
        response = self._connection.getresponse()
        text = response.read()
        if response.status not in {200, 201}:
            raise RuntimeError(f"{method} {path} was answered {response.status}: {text!r}")
        found: dict[str, Any] = json.loads(text)
        return found


def load(port: int, key: str, operation: Operation, clients: int, seconds: float) -> Load:
    """Send requests from this many clients for some seconds, each as soon as it is answered."""
    first = Client(port, key)
    users = [first.add() for _ in range(clients)]
    first.close()
    # A connection opens with its first request: the server closes those that are idle.
    all_of_them = [Client(port, key, user) for user in users]
    try:
        return _load(all_of_them, operation, seconds)
    finally:
        for client in all_of_them:
            client.close()


def _load(clients: Sequence[Client], operation: Operation, seconds: float) -> Load:
    latencies: list[list[float]] = [[] for _ in clients]
    failures: list[Exception] = []
    begun = time.perf_counter()

    def run(client: Client, mine: list[float]) -> None:
        try:
            while (started := time.perf_counter()) < begun + seconds or len(mine) < _LEAST:
                client.send(operation)
                mine.append(time.perf_counter() - started)
        except Exception as error:  # noqa: BLE001 (raised again, in the thread that measures)
            failures.append(error)

    threads = [
        threading.Thread(target=run, args=pair) for pair in zip(clients, latencies, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - begun
    if failures:
        raise failures[0]
    found = [1000 * one for mine in latencies for one in mine]
    percentiles = statistics.quantiles(found, n=100)
    return Load(per_second=len(found) / taken, median=percentiles[49], p99=percentiles[98])
