"""Clients that are slow, on purpose or not, beside clients that are not."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.service.test_commands import Place
from integration.service.test_refused_requests import serving
from support.patience import PATIENCE, promised
from support.slow import SLOW, SlowClients, seconds_of_answers

HEAD = "POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{more}\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A data directory with keys, and a SQLite database with the schema."""
    folder = tmp_path_factory.mktemp("slow")
    place = Place(folder / "data", f"sqlite:///{folder / 'users.db'}")
    place.objects("db", "upgrade")
    place.objects("keys", "init")
    return place


@pytest.fixture(scope="module")
def key(place: Place) -> str:
    """A key that may do everything."""
    (made,) = place.objects("keys", "create", "--username", "kim", "--scope", "admin")
    return str(made["key"])


@pytest.fixture(scope="module")
def port(place: Place, key: str) -> Iterator[int]:
    """Where `auditspan serve` answers."""
    assert key
    with serving(place) as port:
        yield port


@dataclass(frozen=True)
class Late:
    """What was answered to a request that did not arrive in time, and after how many seconds."""

    answer: bytes
    seconds: float


@pytest.fixture(scope="module", autouse=True)
def late(port: int, key: str) -> Iterator[dict[str, Future[Late]]]:
    """Two requests that end early, sent when the module starts: their time passes meanwhile."""
    unfinished = {
        "head": SLOW["headers"],
        "body": head(key, "Content-Length: 900000\r\n") + b"{",
    }
    with ThreadPoolExecutor(len(unfinished)) as pool:
        yield {name: pool.submit(answered, port, sent) for name, sent in unfinished.items()}


def answered(port: int, sent: bytes) -> Late:
    """Send the beginning of a request, and wait for its answer."""
    started = time.monotonic()
    return Late(answer=converse(port, [sent]), seconds=time.monotonic() - started)


@pytest.mark.parametrize("kind", SLOW)
def test_slow_clients_do_not_delay_others(port: int, kind: str) -> None:
    """Beside 64 clients that send a byte a second, `/healthz` is answered within a second."""
    with SlowClients(port, 64, SLOW[kind]):
        slowest = max(seconds_of_answers(port, 4, pause=0.3))
    assert slowest < promised(1.0)


def test_an_unfinished_request_is_answered_408(late: dict[str, Future[Late]]) -> None:
    """A request that does not arrive in time is answered 408, and its connection is closed."""
    found = late["head"].result()
    assert found.answer.startswith(b"HTTP/1.1 408 ")
    assert found.seconds < promised(20.0)


def test_a_body_that_a_thread_reads_has_a_deadline(late: dict[str, Future[Late]]) -> None:
    """A large body that stops is answered 408."""
    assert late["body"].result().answer.startswith(b"HTTP/1.1 408 ")


def test_more_connections_than_fit_do_not_keep_others_out(port: int) -> None:
    """Beside 600 connections, more than a worker keeps, `/healthz` is answered within a second."""
    with SlowClients(port, 600, SLOW["headers"]):
        slowest = max(seconds_of_answers(port, 4, pause=0.5))
    assert slowest < promised(1.0)


def test_an_oversized_head_is_answered_431(port: int) -> None:
    """A head that does not end within 64 KiB is answered 431."""
    assert converse(port, [b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000]).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("kind", ["pieces", "chunks", "expectation", "large"])
def test_bodies_that_arrive_in_parts_are_served(port: int, key: str, kind: str) -> None:
    """A body in two pieces, in chunks, after 100 Continue, or above 64 KiB makes its user."""
    padding = " " * (100_000 if kind == "large" else 0)
    body = json.dumps({"username": kind, "email": f"{kind}@example.org"}).encode()
    body += padding.encode()
    length = f"Content-Length: {len(body)}\r\n"
    parts = {
        "pieces": [head(key, length) + body[:5], body[5:] + LAST],
        "chunks": [
            head(key, "Transfer-Encoding: chunked\r\n") + b"%x\r\n" % len(body),
            body + b"\r\n0\r\n\r\n",
            LAST,
        ],
        "expectation": [head(key, length + "Expect: 100-continue\r\n"), body],
        "large": [head(key, length) + body[:70_000], body[70_000:]],
    }
    answer = converse(port, parts[kind])
    assert b"HTTP/1.1 201 " in answer
    assert (b"HTTP/1.1 100 " in answer) == (kind == "expectation")
    assert (b"HTTP/1.1 200 " in answer) == (kind in {"pieces", "chunks"})


def test_requests_sent_at_once_are_all_answered(port: int) -> None:
    """Three requests in one piece, and the rest of a fourth after them, have four answers."""
    request = LAST.replace(b"Connection: close\r\n", b"")
    answer = converse(port, [request * 3 + LAST[:9], LAST[9:]])
    assert answer.count(b"HTTP/1.1 200 ") == 4


def test_slow_clients_do_not_delay_the_end(tmp_path: Path) -> None:
    """With slow clients connected, SIGTERM ends the service within a few seconds."""
    place = Place(tmp_path / "data", f"sqlite:///{tmp_path / 'users.db'}")
    place.objects("db", "upgrade")
    place.objects("keys", "init")
    with ExitStack() as clients:
        with serving(place) as port:
            clients.enter_context(SlowClients(port, 16, SLOW["headers"]))
            started = time.monotonic()
        ended = time.monotonic() - started
    assert ended < promised(10.0)


def head(key: str, more: str) -> bytes:
    """The head of a request that makes a user."""
    return HEAD.format(more=f"Authorization: Bearer {key}\r\n{more}").encode()


def converse(port: int, parts: list[bytes]) -> bytes:
    """Everything that is answered to these parts, sent a fifth of a second apart."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.2)
        answer = b""
        while received := connection.recv(65536):
            answer += received
        return answer
