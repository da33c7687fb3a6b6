"""The application factory."""

from __future__ import annotations

from flask import Flask
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import IntegrityError

from apps.api.auth import auth
from apps.api.database import sessions
from apps.api.documents import documents


def create_app(url: str) -> Flask:
    """The application on this database."""
    app = Flask(__name__)
    app.secret_key = "tests"
    app.extensions["engine"] = engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _with_foreign_keys)
    _bind(app, engine)
    app.register_blueprint(auth)
    app.register_blueprint(documents)
    app.register_error_handler(IntegrityError, refused)
    return app


def refused(_error: Exception) -> ResponseReturnValue:
    """Roll back what the database does not allow."""
    sessions.rollback()
    return {"error": "conflict"}, 409


def _bind(app: Flask, engine: Engine) -> None:
    sessions.configure(bind=engine)
    app.teardown_appcontext(lambda _error: sessions.remove())


def _with_foreign_keys(connection: object, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")  # type: ignore[attr-defined]
