"""The service of the tour: a stack of its own, or a running service.

No HTTP client can make a service fail after a flush, or write raw SQL. For these requests a second
server is started here, on the same database and with the same collector: one more replica of the
service, with the routes of `routes`.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import urllib3
from flask import Flask
from urllib3.exceptions import HTTPError
from werkzeug.serving import make_server

from auditspan import Actor, audit_context
from auditspan_service.accounts.api_keys import create_key, revoke_key
from auditspan_service.api.auth import write_key_uses
from auditspan_service.api.current import EXTENSION
from auditspan_service.app import create_app
from auditspan_service.config import Settings
from auditspan_service.database.engine import Database
from auditspan_service.errors import ServiceError
from auditspan_service.server.stack import Stack
from auditspan_service.services import Services
from auditspan_service.telemetry.logs import setup_logging, teardown_logging
from auditspan_service.telemetry.providers import TelemetryConfig, setup_telemetry

TOURIST = "auditspan-tour"
"""The user of the tour's temporary key on a running service; the key is revoked afterwards."""

_SCOPES = ("users:read", "users:write", "audit:write")
_READER = ("users:read",)
_DELAY_MILLIS = 500

Extend = Callable[[Flask], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Service that the tour calls, and the places where its records are read.

    Attributes:
        url: the address of the service.
        extra_url: the address of the server that has the tour's own routes.
        key: the text of an API key that may change users and record events.
        reader: the text of an API key that may only read users, if one was made.
        username: the username of the user to create; it is not taken yet.
        settings: the settings of the service.
        database: the database of the service.
        flush: exports the pending spans of this process.
        collector: the version of the collector, if known.
        is_own: whether everything was started for this tour.
    """

    url: str
    extra_url: str
    key: str = field(repr=False)
    reader: str | None = field(repr=False)
    username: str
    settings: Settings
    database: Database
    flush: Callable[[], object]
    collector: str | None
    is_own: bool


@contextmanager
def own_stage(
    settings: Settings, *, binary: Path | None, log_file: Path, extend: Extend
) -> Iterator[Stage]:
    """Start a stack for the tour, and stop it afterwards."""
    with (
        log_file.open("a", encoding="utf-8") as log,
        Stack.start(settings, binary=binary, log_stream=log, extend=extend) as stack,
        _key(stack.services, _READER) as reader,
    ):
        yield Stage(
            url=stack.url,
            extra_url=stack.url,
            key=stack.key or "",
            reader=reader,
            username="kim",
            settings=stack.settings,
            database=stack.services.database,
            flush=stack.services.telemetry.force_flush,
            collector=stack.collector.version if stack.collector else None,
            is_own=True,
        )


@contextmanager
def running_stage(
    settings: Settings, *, url: str, key: str | None, extend: Extend
) -> Iterator[Stage]:
    """Use the service at `url`, with the database and collector's files of the settings.

    Without a `key`, one is created and revoked afterwards, with another that only reads; the trail
    records both.

    Raises:
        ServiceError: no auditspan service is ready at `url`.
    """
    _require_ready(url)
    with _replica(settings, extend) as (services, extra_url), ExitStack() as stops:
        yield Stage(
            url=url.rstrip("/"),
            extra_url=extra_url,
            key=key or stops.enter_context(_key(services, _SCOPES)),
            reader=None if key else stops.enter_context(_key(services, _READER)),
            username=f"tour-{secrets.token_hex(4)}",
            settings=settings,
            database=services.database,
            flush=services.telemetry.force_flush,
            collector=None,
            is_own=False,
        )


@contextmanager
def _replica(settings: Settings, extend: Extend) -> Iterator[tuple[Services, str]]:
    """Start one more server on the database, in this process, without console output."""
    config = TelemetryConfig(
        sink=settings.sink,
        files=settings.collector_files,
        span_delay_millis=_DELAY_MILLIS,
        log_delay_millis=_DELAY_MILLIS,
    )
    with ExitStack() as stops:
        telemetry = setup_telemetry(config)
        stops.callback(telemetry.shutdown)
        console = stops.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        setup_logging(stream=console, logger_provider=telemetry.logger_provider)
        stops.callback(teardown_logging)
        app = create_app(settings, telemetry)
        services: Services = app.extensions[EXTENSION]
        stops.callback(services.database.dispose)
        stops.callback(write_key_uses, app)
        extend(app)
        yield services, stops.enter_context(_served(app))


@contextmanager
def _served(app: Flask) -> Iterator[str]:
    """Serve the application on a free loopback port."""
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, name="auditspan-tour-http")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _key(services: Services, scopes: tuple[str, ...]) -> Iterator[str]:
    """Create an API key and revoke it after the tour."""
    actor = Actor.system(TOURIST)
    with audit_context(actor=actor, reason="tour"), services.database.writing() as session:
        issued = create_key(session, TOURIST, scopes, name="tour")
        key_id = issued.key.id
    try:
        yield issued.text
    finally:
        with audit_context(actor=actor, reason="tour"), services.database.writing() as session:
            revoke_key(session, key_id)


def _require_ready(url: str) -> None:
    sentence = f"No auditspan service is ready at {url}: see its /readyz, or give --url."
    try:
        answer = urllib3.request("GET", f"{url.rstrip('/')}/readyz", timeout=5.0, retries=False)
    except HTTPError as error:
        raise ServiceError(sentence) from error
    if answer.status != HTTPStatus.OK:
        raise ServiceError(sentence)
