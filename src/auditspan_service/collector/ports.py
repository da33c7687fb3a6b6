"""The ports that a collector listens on."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports of the collector's receivers and of its health check."""

    grpc: int
    http: int
    audit: int
    health: int


def free_ports(host: str) -> Ports:
    """Pick ports that are currently free on `host`.

    Another process may take one before the collector does. So the caller must check the collector's
    start, and retry with other ports.
    """
    names = [field.name for field in fields(Ports)]
    with ExitStack() as stack:  # all open at once, so that no number is picked twice
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind((host, 0))
        return Ports(
            **{name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}
        )
