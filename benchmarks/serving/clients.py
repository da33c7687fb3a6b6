"""Clients of a service: each has a connection that stays open, and a user that it changes.

All of them run in one thread, which waits for whichever is answered next: it takes 0.08 ms of CPU
time for a request, where a thread and an `HTTPConnection` for each took 0.19 ms of the same cores.
"""

from __future__ import annotations

import json
import selectors
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

Operation = Literal["POST", "PATCH"]

_numbers = count()
_SECONDS = 120
_LEAST = 2
"""The requests that a client sends even if they take longer than the measurement."""
_RECEIVED = 65536
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Load:
    """Answers that the clients of one measurement got.

    Attributes:
        requests: the number of answered requests.
        per_second: answered requests per second.
        median: the median latency in milliseconds.
        p99: its 99th percentile.
    """

    requests: int
    per_second: float
    median: float
    p99: float


@dataclass(kw_only=True)
class Client:
    """One client of the service on a port of this machine, with at most one request under way."""

    port: int
    key: str
    user: int | None = None
    latencies: list[float] = field(default_factory=list)
    socket: socket.socket = field(init=False)
    _begun: float = 0.0
    _received: bytes = b""

    def __post_init__(self) -> None:
        """Connect."""
        self._connect()

    def send(self, operation: Operation) -> None:
        """Send a request."""
        message = self._post() if operation == "POST" else self._patch()
        self._begun = time.perf_counter()
        self.socket.sendall(message)

    def receive(self) -> dict[str, Any] | None:
        """Read what has arrived; return the answered resource, or None while it is not complete.

        Raises:
            RuntimeError: the request was refused, or the connection was closed.
        """
        piece = self.socket.recv(_RECEIVED)
        if not piece:
            raise RuntimeError(f"the connection was closed after {self._received!r}")
        self._received += piece
        head, is_whole, body = self._received.partition(_HEAD_END)
        if not is_whole or len(body) < _length(head):
            return None
        self.latencies.append(time.perf_counter() - self._begun)
        self._received = b""
        if head[9:12] not in {b"200", b"201"}:
            raise RuntimeError(f"a request was answered {head!r} {body!r}")
        found: dict[str, Any] = json.loads(body)
        return found

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def add(self) -> int:
        """Add a user; the id."""
        self.send("POST")
        while (added := self.receive()) is None:
            pass
        return int(added["id"])

    def _connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _post(self) -> bytes:
        name = f"user-{time.time_ns()}-{next(_numbers)}"
        members = {"username": name, "email": f"{name}@example.org", "full_name": "Kim"}
        return self._message("POST /v1/users", members)

    def _patch(self) -> bytes:
        members = {"full_name": f"Kim Park {next(_numbers)}"}
        return self._message(f"PATCH /v1/users/{self.user}", members, "If-Match: *\r\n")

    def _message(self, line: str, members: dict[str, str], headers: str = "") -> bytes:
        body = json.dumps(members)
        return (
            f"{line} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}"
            f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
            f"{body}"
        ).encode()


def _length(head: bytes) -> int:
    """Return the length of the body after this head."""
    return int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])


def connected(port: int, key: str, clients: int) -> list[Client]:
    """Return clients that are connected, each with a user of its own."""
    first = Client(port=port, key=key)
    users = [first.add() for _ in range(clients)]
    first.close()
    return [Client(port=port, key=key, user=user) for user in users]


def load(clients: Sequence[Client], operation: Operation, seconds: float) -> Load:
    """Send requests for some seconds, from each client as soon as it is answered; close them."""
    begun = time.perf_counter()
    try:
        _run(clients, operation, begun + seconds)
    finally:
        for client in clients:
            client.close()
    taken = time.perf_counter() - begun
    found = [1000 * one for client in clients for one in client.latencies]
    percentiles = statistics.quantiles(found, n=100)
    return Load(
        requests=len(found),
        per_second=len(found) / taken,
        median=percentiles[49],
        p99=percentiles[98],
    )


def _run(clients: Sequence[Client], operation: Operation, until: float) -> None:
    with selectors.DefaultSelector() as waiting:
        for client in clients:
            waiting.register(client.socket, selectors.EVENT_READ, client)
            client.send(operation)
        while waiting.get_map():
            ready = waiting.select(_SECONDS)
            if not ready:
                raise RuntimeError(f"no request was answered in {_SECONDS} seconds")
            for key, _ in ready:
                client = key.data
                if client.receive() is None:
                    continue
                if time.perf_counter() < until or len(client.latencies) < _LEAST:
                    client.send(operation)
                else:
                    waiting.unregister(client.socket)
