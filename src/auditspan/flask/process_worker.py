"""The worker of this process, for development."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from flask import Flask

from auditspan.storage import staging_of
from auditspan.trail import AuditTrail


class ProcessWorker:
    """The worker of this process, started by its first request and so after any fork."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail
        self._lock = threading.Lock()
        self._stops: dict[int, ExitStack] = {}

    def start(self, app: Flask) -> None:
        """Start the worker on each database, unless this process has started it before.

        If one does not start, the others are stopped, and the next request tries again.
        """
        process = os.getpid()
        with self._lock:
            if process in self._stops:
                return
            from auditspan.trail.settings import settings_from  # noqa: PLC0415 (needs the extra `worker`)

            settings = settings_from(app.config)
            with ExitStack() as started:
                started.enter_context(self._trail.worker(settings))
                for name, trail in self._binds(app):
                    started.enter_context(trail.worker(settings.for_bind(name)))
                self._stops[process] = started.pop_all()
            atexit.register(self.stop)

    def stop(self) -> None:
        """Stop the worker of this process."""
        if stops := self._stops.get(os.getpid()):
            stops.close()

    def _binds(self, app: Flask) -> Iterator[tuple[str, AuditTrail]]:
        """Yield the trail in each bind of Flask-SQLAlchemy that has audit tables."""
        db: Any = app.extensions.get("sqlalchemy")
        for name, engine in (db.engines if db is not None else {}).items():
            if name is not None and staging_of(db.metadatas[name]) is not None:
                yield name, self._trail.for_database(engine, db.metadatas[name])
