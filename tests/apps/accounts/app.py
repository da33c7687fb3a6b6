"""The application factory: `flask --app apps.accounts run`."""

from __future__ import annotations

from typing import Any

from flask import Flask, current_app, session
from flask.typing import ResponseReturnValue
from flask_migrate import Migrate
from werkzeug.exceptions import HTTPException

import auditspan.alembic.autogenerate  # noqa: F401 (for `flask db migrate`)
from apps.accounts.models import User, db, trail
from apps.accounts.views import users
from auditspan import Actor
from auditspan.flask import AuditExtension

migrate = Migrate()


def create_app(**settings: Any) -> Flask:
    """The application; settings also come from `FLASK_…` variables."""
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(settings)
    db.init_app(app)
    migrate.init_app(app, db)
    AuditExtension(trail, actor=current_actor).init_app(app)
    app.register_blueprint(users)
    app.register_error_handler(Exception, failed)
    return app


def current_actor() -> Actor:
    """Whoever is logged in."""
    user = db.session.get(User, session["user_id"]) if "user_id" in session else None
    return Actor.user(user.id, label=user.username) if user else Actor.anonymous()


def failed(error: Exception) -> ResponseReturnValue:
    """Say as little as possible, and log the rest."""
    if isinstance(error, HTTPException):
        return {"error": error.name}, error.code or 500
    current_app.logger.error("request failed: %s", type(error).__name__, exc_info=error)
    return {"error": "internal server error"}, 500
