"""The application factory."""

from __future__ import annotations

from flask import Flask
from flask.typing import ResponseReturnValue
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from apps.forum.members import members
from apps.forum.models import db
from apps.forum.topics import topics


def create_app(url: str) -> Flask:
    """The application on this database."""
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SECRET_KEY="tests")
    db.init_app(app)
    app.register_blueprint(members)
    app.register_blueprint(topics)
    app.register_error_handler(IntegrityError, refused)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", _with_foreign_keys)
    return app


def refused(_error: Exception) -> ResponseReturnValue:
    """Roll back what the database does not allow."""
    db.session.rollback()
    return {"error": "conflict"}, 409


def _with_foreign_keys(connection: object, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")  # type: ignore[attr-defined]
