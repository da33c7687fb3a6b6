"""The whole service in one process, for development and for the tour.

It runs the HTTP server, the worker threads and, if installed, the collector as a child process. All
of their files are in the data directory, and restarting on it resumes.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from flask import Flask
from sqlalchemy import Engine, func, select
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from auditspan import Actor, audit_context
from auditspan.storage import audit_tables
from auditspan.storage.files import make_private_directory
from auditspan.storage.keys import (
    load_or_create_erasure_keys,
    load_or_create_mac_key,
    load_or_create_signing_keys,
)
from auditspan.trail.settings import (
    require_first_mac_key,
    require_first_signing_key,
    require_guarded,
)
from auditspan_service.accounts.api_keys import create_key
from auditspan_service.accounts.scopes import ADMIN
from auditspan_service.api.access import recorded_run
from auditspan_service.api.auth import write_key_uses
from auditspan_service.api.current import EXTENSION
from auditspan_service.app import create_app
from auditspan_service.collector import Collector
from auditspan_service.config import Settings
from auditspan_service.database.data_directory import close_data_dir
from auditspan_service.database.engine import Database
from auditspan_service.database.schema import upgrade
from auditspan_service.files.up_file import announced
from auditspan_service.models import ApiKey, Base
from auditspan_service.server.listening import http_url, listening, require_answer
from auditspan_service.services import Services
from auditspan_service.telemetry.logs import setup_logging, teardown_logging
from auditspan_service.telemetry.providers import Telemetry, TelemetryConfig, setup_telemetry
from auditspan_service.worker import running_worker

FIRST_USER = "admin"
DRAIN_SECONDS = 10.0
"""Time limit for delivering committed rows on stop; the rest is delivered after the next start."""

_METHOD = re.compile(r"[A-Z-]{3,20}")
_DELAY_MILLIS = 500
"""The batch delay of spans and log records, short for interactive use."""

Progress = Callable[[str], None]


def _say_nothing(_text: str) -> None:
    """Ignore progress."""


def _extend_nothing(_app: Flask) -> None:
    """Leave the application unchanged."""


class _Quiet(WSGIRequestHandler):
    """Request handler without access log, since every request has a span, and without quotes."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""

    def log_error(self, format: str, *args: object) -> None:  # noqa: A002, ARG002 (as inherited)
        """Log that a request was refused, without its text, which may contain an API key."""
        self.log("warning", "malformed request refused")

    def run_wsgi(self) -> None:
        """Refuse a malformed method or target, which would be quoted by a span or traceback."""
        if self._is_well_formed():
            super().run_wsgi()
        else:
            self.send_error(HTTPStatus.BAD_REQUEST)

    def _is_well_formed(self) -> bool:
        try:
            self.make_environ()
        except ValueError:
            return False
        return _METHOD.fullmatch(self.command) is not None


class Stack:
    """Running service with its worker, started by `start`, ended by `stop` or the `with` block.

    Attributes:
        settings: the effective settings: the sink is `file` if there is no collector.
        url: the address of the service.
        key: the text of the first API key if this start created it, else None.
        collector: the child process, or None.
        services: the services of the application.
    """

    url: str
    key: str | None
    services: Services

    def __init__(
        self, settings: Settings, binary: Path | None, log_stream: TextIO | None = None
    ) -> None:
        self._log_stream = log_stream
        self._stops = ExitStack()
        self.collector = self._start_collector(settings, binary) if binary else None
        self.settings = _effective(settings, self.collector)

    @classmethod
    def start(
        cls,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        binary: Path | None = None,
        log_stream: TextIO | None = None,
        progress: Progress = _say_nothing,
        extend: Callable[[Flask], None] = _extend_nothing,
    ) -> Stack:
        """Migrate, create missing keys, start everything, and return when the service answers.

        Args:
            settings: the settings; endpoint and sink are replaced by the collector's own.
            host: the address to listen on.
            port: the port, 0 for any free port.
            binary: the collector, or None to write files without one.
            log_stream: the stream of log records, by default standard error.
            progress: called with a sentence for each step.
            extend: called to add routes to the application before it serves.

        Raises:
            ServiceError: the address cannot be listened on, and nothing has been created; or the
                service does not answer its own first requests, and has been stopped.
        """
        # Listen first: a key that is created but not shown would be lost.
        with listening(host, port) as listener:
            make_private_directory(settings.data_dir)
            close_data_dir(settings, say=progress)
            stack = cls(settings, binary, log_stream)
            try:
                stack._prepare(progress)
                stack._serve(host, listener, extend)
                stack._stops.enter_context(announced(stack.settings))
            except BaseException:
                stack.stop()
                raise
        return stack

    def stop(self) -> None:
        """Stop the HTTP server, flush telemetry, deliver rows and stop the collector, in order."""
        self._stops.close()

    def drain(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Wait until every committed row is delivered; return whether that happened in time."""
        return self._worker.drain(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_collector(self, settings: Settings, binary: Path) -> Collector:
        log_file = settings.data_dir / "collector.log"
        collector = Collector.start(binary, settings.collector_files, log_file)
        return self._stops.enter_context(collector)

    def _prepare(self, progress: Progress) -> None:
        progress(f"data under {self.settings.data_dir}")
        database = Database.connect(self.settings.database_url)
        try:
            self._create_keys(database.engine)
            upgrade(database.engine)
            # Its role owns the tables it has created: that finding is reported, but tolerated.
            require_guarded(
                database.engine,
                audit_tables(Base.metadata),
                self.settings,
                say=progress,
                tolerated={"role"},
            )
        finally:
            database.dispose()

    def _create_keys(self, engine: Engine) -> None:
        """Create the missing keys of a new trail.

        Raises:
            KeyFileError: a key is missing that the trail has used.
        """
        settings, tables = self.settings, audit_tables(Base.metadata)
        require_first_mac_key(engine, tables, settings.mac_key_file)
        require_first_signing_key(engine, tables, settings.signing_key_file)
        load_or_create_mac_key(settings.mac_key_file, create=True)
        load_or_create_erasure_keys(settings.erasure_key_file, create=True)
        load_or_create_signing_keys(settings.signing_key_file, create=True)

    def _serve(self, host: str, listener: socket.socket, extend: Callable[[Flask], None]) -> None:
        self._worker = self._stops.enter_context(running_worker(self.settings))
        self._stops.callback(self.drain)
        app = create_app(self.settings, self._telemetry())
        self.services = app.extensions[EXTENSION]
        self._stops.callback(self.services.database.dispose)
        self._stops.callback(write_key_uses, app)
        self.key = self._first_key()
        extend(app)
        self._stops.enter_context(recorded_run(app))
        fd = listener.fileno()
        server = make_server(host, 0, app, threaded=True, request_handler=_Quiet, fd=fd)
        self._stops.callback(_run(server))
        self.url = http_url(host, server.port)
        require_answer(listener)

    def _telemetry(self) -> Telemetry:
        config = TelemetryConfig(
            sink=self.settings.sink,
            endpoint=self.collector.otlp_endpoint if self.collector else None,
            files=self.settings.collector_files,
            span_delay_millis=_DELAY_MILLIS,
            log_delay_millis=_DELAY_MILLIS,
        )
        telemetry = setup_telemetry(config)
        self._stops.callback(telemetry.shutdown)
        setup_logging(
            level=self.settings.log_level,
            log_format=self.settings.log_format,
            stream=self._log_stream,
            logger_provider=telemetry.logger_provider,
        )
        self._stops.callback(teardown_logging)
        return telemetry

    def _first_key(self) -> str | None:
        context = audit_context(actor=Actor.system("auditspan-up"), reason="first start")
        with context, self.services.database.writing() as session:
            if session.scalar(select(func.count()).select_from(ApiKey)):
                return None
            return create_key(session, FIRST_USER, [ADMIN]).text


def _effective(settings: Settings, collector: Collector | None) -> Settings:
    if collector is not None:
        changes = {"sink": "otlp", "audit_endpoint": collector.audit_endpoint}
    else:
        changes = {"sink": "file" if settings.sink == "otlp" else settings.sink}
    return settings.model_copy(update=changes)


def _run(server: BaseWSGIServer) -> Callable[[], None]:
    """Serve in a thread; return a function that stops it after the running requests."""
    server.daemon_threads = False  # type: ignore[attr-defined]  # of the threading server
    thread = threading.Thread(target=server.serve_forever, name="auditspan-http")
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return stop
