"""Clients that send a request a byte at a time, and how long others wait meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Self

from support.patience import PATIENCE

_HEAD = b"GET /v1/users HTTP/1.1\r\nHost: x\r\nX-Slow: "
_LENGTH = b"POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n"
_JSON = b"Content-Type: application/json\r\n"
_CHUNKS = b"POST /v1/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
_LARGE = b"POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n"
_EXPECT = b"Expect: 100-continue\r\n"
_EXCHANGE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
#: What a slow client sends at once, by what it then sends slowly.
SLOW = {
    "nothing": b"",
    "headers": _HEAD,
    "headers after a request": _EXCHANGE + _HEAD,
    "a body": _LENGTH + _JSON + b"\r\n ",
    "a body for an unknown path": _LENGTH.replace(b"users", b"nothing") + b"\r\n ",
    "a large body": _LARGE + _JSON + b"\r\n ",
    "a body that has to be asked for": _LENGTH + _JSON + _EXPECT + b"\r\n",
    "chunks": _CHUNKS + _JSON + b"\r\n4\r\n\r\n\r\n\r\n1000\r\n",
}


class SlowClients:
    """Connections that send a byte each second, and are opened again when they are closed."""

    def __init__(self, port: int, count: int, opening: bytes, second: float = 1.0) -> None:
        self._address = ("127.0.0.1", port)
        self._count = count
        self._opening = opening
        self._second = second
        self._open: list[socket.socket] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._fill()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for connection in self._open:
            connection.close()

    def _run(self) -> None:
        while not self._ended.wait(self._second):
            self._open = [one for one in self._open if self._drip(one)]
            self._fill()

    def _fill(self) -> None:
        while len(self._open) < self._count and not self._ended.is_set():
            try:
                connection = socket.create_connection(self._address, timeout=PATIENCE)
            except ConnectionError:
                return  # the service has ended
            connection.settimeout(0)
            with contextlib.suppress(OSError):
                connection.sendall(self._opening)
            self._open.append(connection)

    def _drip(self, connection: socket.socket) -> bool:
        """Send one byte unless there is nothing to send; whether the connection is open."""
        try:
            if self._opening:
                connection.sendall(b"1")
        except BlockingIOError:
            return True
        except OSError:
            connection.close()
            return False
        return True


def seconds_of_answers(port: int, count: int, pause: float = 0.0) -> list[float]:
    """Return the seconds that each request for `/healthz` takes, on a connection of its own."""
    return [_seconds_of_answer(port) for _ in _paced(count, pause)]


def _seconds_of_answer(port: int) -> float:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 ")
    return time.monotonic() - started


def _paced(count: int, pause: float) -> Iterator[int]:
    for number in range(count):
        yield number
        time.sleep(pause)
