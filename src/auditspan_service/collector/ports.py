"""The ports one collector listens on."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Ports:
    """One port for each door of the collector."""

    grpc: int
    http: int
    audit: int
    health: int


def free_ports(host: str) -> Ports:
    """Pick ports that are free on `host` now.

    Now is not later: another process may take one before the collector does. Whoever starts a
    collector on them looks at what it says and picks again.
    """
    names = [field.name for field in fields(Ports)]
    with ExitStack() as stack:  # all open at once, or one number might come twice
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind((host, 0))
        return Ports(
            **{name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}
        )
