"""Ports for servers that tests start, and that nothing else takes until they listen."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from itertools import cycle

_PORTS = range(10_000, 32_768)
"""Below those that Linux gives to clients, and to servers that ask for any port."""

_BETWEEN_PROCESSES = 101

_first = os.getpid() * _BETWEEN_PROCESSES % len(_PORTS)
_next = cycle((*_PORTS[_first:], *_PORTS[:_first]))


def free_port() -> int:
    """Return a free port of 127.0.0.1, each time another one."""
    for _ in _PORTS:
        port: int = next(_next)
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")
