"""The composition root: creation of the Flask application from the settings."""

from __future__ import annotations

from flask import Response
from flask.app import Flask  # see undo_automatic_instrumentation

from auditspan.flask import AuditExtension
from auditspan_service import pages
from auditspan_service.api import access, auth, current, error_handlers, problems
from auditspan_service.api.audit_events import audit_events
from auditspan_service.api.body import require_whole_body
from auditspan_service.api.body_stream import WholeBodies
from auditspan_service.api.erasures import erasures
from auditspan_service.api.event_ingest import event_ingest
from auditspan_service.api.exports import exports
from auditspan_service.api.health import health
from auditspan_service.api.history import history
from auditspan_service.api.hosts import require_host
from auditspan_service.api.keys import keys
from auditspan_service.api.openapi import openapi
from auditspan_service.api.otlp_logs import otlp_logs
from auditspan_service.api.proofs import proofs
from auditspan_service.api.proxy import ProxyBoundary
from auditspan_service.api.retention import retention
from auditspan_service.api.roles import roles
from auditspan_service.api.states import states
from auditspan_service.api.users import users
from auditspan_service.config import Settings, load_settings
from auditspan_service.services import Services, open_services
from auditspan_service.telemetry.instrumentation import (
    instrument_engine,
    instrument_flask,
    undo_automatic_instrumentation,
)
from auditspan_service.telemetry.logs import setup_logging
from auditspan_service.telemetry.providers import Telemetry, TelemetryConfig, setup_telemetry

_BLUEPRINTS = (
    *(users, erasures, roles, keys, retention),
    *(audit_events, event_ingest, otlp_logs, exports, history, states, proofs),
    *(health, openapi, problems.pages),
)


def create_app(settings: Settings | None = None, telemetry: Telemetry | None = None) -> Flask:
    """Create the service as a WSGI application.

    Args:
        settings: the settings, by default those of the environment.
        telemetry: the telemetry, by default created for the configured sink and installed for the
            process, together with logging. A caller that passes its own also sets up logging.

    Raises:
        SettingsError: a setting is invalid.
        KeyFileError: the database is shared, and there is no MAC key.
    """
    undo_automatic_instrumentation()
    settings = settings or load_settings()
    services = open_services(settings, telemetry or _process_telemetry(settings))
    app = Flask(__name__, static_folder=None)
    app.extensions[current.EXTENSION] = services
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    app.url_map.merge_slashes = False  # a redirect would repeat the client's Host header
    app.json.sort_keys = False  # type: ignore[attr-defined]  # keep the order of members
    _install(app, services)
    for blueprint in _BLUEPRINTS:
        app.register_blueprint(blueprint)
    pages.install(app, services)
    return app


def _process_telemetry(settings: Settings) -> Telemetry:
    telemetry = setup_telemetry(TelemetryConfig(sink=settings.sink, files=settings.collector_files))
    setup_logging(
        level=settings.log_level,
        log_format=settings.log_format,
        logger_provider=telemetry.logger_provider,
    )
    return telemetry


def _install(app: Flask, services: Services) -> None:
    trusted = services.settings.trusted_proxies
    bounded = ProxyBoundary(WholeBodies(app.wsgi_app), trusted=trusted)
    app.wsgi_app = bounded  # type: ignore[method-assign]
    instrument_flask(app, services.telemetry, trusted=trusted)
    instrument_engine(services.database.engine, services.telemetry)
    if services.database.replica:
        instrument_engine(services.database.replica.engine, services.telemetry)
    app.before_request(require_host)
    AuditExtension(services.trail, actor=auth.actor).init_app(app)
    auth.protect(app, services)
    app.before_request(require_whole_body)
    error_handlers.install(app)
    if services.settings.record_access:
        access.install(app, api_prefix=auth.API_PREFIX)
    app.after_request(_private)


def _private(response: Response) -> Response:
    """Prevent intermediaries from caching a response and clients from sniffing its type."""
    response.headers.setdefault("Cache-Control", "private, no-cache")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
