"""The tutorial's application as it was: a user is added, and an event announces it.

The event fires before the commit, so it also announces users that are rolled back; it says neither
who added the user nor in which request; and it is gone with the process.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from flask import Flask, request
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

db = SQLAlchemy()


class User(db.Model):  # type: ignore[name-defined, misc]  # Flask-SQLAlchemy builds it at run time
    """A person who may log in."""

    id = db.Column(db.Integer, primary_key=True)
    username = db.Column(db.String(50), unique=True, nullable=False)
    created_at = db.Column(db.DateTime, default=lambda: datetime.now(UTC))


@event.listens_for(User, "after_insert")
def announce(_mapper: Any, _connection: Any, user: User) -> None:  # noqa: ANN401
    """Say that there is a new user."""
    logging.getLogger(__name__).info("new user %s", user.username)


def create_app(database_url: str = "sqlite:///tutorial.db") -> Flask:
    """The application."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url
    db.init_app(app)
    with app.app_context():
        db.create_all()

    @app.post("/users")
    def add_user() -> ResponseReturnValue:
        user = User(username=request.form["username"])
        db.session.add(user)
        db.session.commit()
        return {"id": user.id, "username": user.username}, 201

    @app.errorhandler(Exception)
    def failed(error: Exception) -> ResponseReturnValue:
        app.logger.error("request failed: %s", type(error).__name__, exc_info=error)
        return {"error": "internal server error"}, 500

    return app
