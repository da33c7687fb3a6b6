"""The file that gives other commands the collector address of a running `auditspan up`.

`up` starts its collector on free ports, which no setting names. The file is locked while `up` runs,
so that a stale file of a crashed `up` is ignored.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from auditspan_service.collector import lock
from auditspan_service.config import Settings

_NAME = "up.json"
_LOCK_SECONDS = 1.0
_LOCK_POLL_SECONDS = 0.05


@contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """Publish the sink while the block runs, unless another `up` already does."""
    path = settings.data_dir / _NAME
    try:
        descriptor = lock.acquire(path, seconds=_LOCK_SECONDS, poll=_LOCK_POLL_SECONDS)
    except (TimeoutError, OSError):
        yield
        return
    try:
        _write(descriptor, {"sink": settings.sink, "audit_endpoint": settings.audit_endpoint})
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def as_running(settings: Settings) -> Settings:
    """Return the settings with the sink of the `auditspan up` on this data directory, if any."""
    with suppress(OSError, ValueError), (settings.data_dir / _NAME).open() as file:
        if _is_locked(file.fileno()):
            return settings.model_copy(update=_read(file.read()))
    return settings


def is_running(settings: Settings) -> bool:
    """Return whether an `auditspan up` runs on this data directory."""
    with suppress(OSError), (settings.data_dir / _NAME).open() as file:
        return _is_locked(file.fileno())
    return False


def _write(descriptor: int, members: dict[str, str]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(members).encode(), 0)


def _read(text: str) -> dict[str, Any]:
    members = json.loads(text)
    return {name: members[name] for name in ("sink", "audit_endpoint")}


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
