"""Installation of the pages in the service."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface
from sqlalchemy import Connection

from auditspan import MacKey
from auditspan.errors import KeyFileError
from auditspan.storage.keys import load_or_create_signing_keys, load_retired_keys
from auditspan.tlog import PublicKey
from auditspan.viewer import Connect, viewer_blueprint
from auditspan_service.config import Settings
from auditspan_service.pages.auditors import account, can_view
from auditspan_service.pages.error_page import as_page
from auditspan_service.pages.sign_in import pages
from auditspan_service.services import Services

_LIFETIME = timedelta(hours=8)


class _Sessions(SecureCookieSessionInterface):
    """Sessions in a signed cookie, which is secure where the request came over HTTPS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether browsers may send the cookie over HTTPS only."""
        del app
        return request.is_secure


def install(app: Flask, services: Services) -> None:
    """Add the viewer at `/`, the pages for signing in and out, and those of errors."""
    app.session_interface = _Sessions()
    app.secret_key = _session_secret(services.mac_keys[0])
    app.config.update(
        SESSION_COOKIE_NAME="auditspan",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=_LIFETIME,
    )
    viewer = viewer_blueprint(
        services.trail,
        can_view=can_view,
        connect=_reading(services),
        collector_files=services.settings.collector_files,
        trace_url=services.settings.trace_url,
        public_keys=_public_keys(services.settings),
        account=account,
        denials="authorization.failure",
    )
    app.register_blueprint(viewer)
    app.register_blueprint(pages)
    app.after_request(as_page)


def _session_secret(key: MacKey) -> bytes:
    """Return the secret that signs cookies, the same in each process of the service."""
    return hmac.new(key.secret, b"auditspan-session", hashlib.sha256).digest()


def _reading(services: Services) -> Connect:
    @contextmanager
    def connect() -> Iterator[Connection]:
        with services.database.reading() as session:
            yield session.connection()

    return connect


def _public_keys(settings: Settings) -> tuple[PublicKey, ...]:
    """Return the keys that sign checkpoints, if this process may read them."""
    path = settings.signing_key_file
    try:
        keys = load_or_create_signing_keys(path, create=False)
    except KeyFileError:
        return ()  # only the worker needs the signing key; `auditspan doctor` reports a damaged one
    return (*(key.public for key in keys), *load_retired_keys(path))
