"""Registration, login and what members change about themselves."""

from __future__ import annotations

from flask import Blueprint, abort, request, session
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from apps.forum.models import User, db, now

members = Blueprint("members", __name__)


def current_user() -> User | None:
    """The member that is logged in."""
    return db.session.get(User, session["user_id"]) if "user_id" in session else None


def require_user() -> User:
    """The member that is logged in, or 401."""
    return current_user() or abort(401)


@members.before_app_request
def see() -> None:
    """Note when the member was last here."""
    user = current_user()
    if user is not None:
        user.last_seen = now()
        db.session.commit()


@members.post("/users")
def register() -> ResponseReturnValue:
    """Become a member."""
    given = request.get_json()
    user = User(username=given["username"], password=given["password"]).save()
    return {"id": user.id}, 201


@members.get("/users/<int:user_id>")
def show(user_id: int) -> ResponseReturnValue:
    """What there is to know of a member."""
    user = db.get_or_404(User, user_id)
    return {
        "username": user.username,
        "post_count": user.post_count,
        "settings": dict(user.settings),
        "last_seen": user.last_seen and user.last_seen.isoformat(),
        "tracked": [topic.id for topic in user.tracked],
    }


@members.post("/login")
def login() -> ResponseReturnValue:
    """Log in."""
    given = request.get_json()
    user = db.session.scalar(select(User).filter_by(username=given["username"]))
    if user is None or not user.has_password(given["password"]):
        abort(401)
    session["user_id"] = user.id
    return {"id": user.id}


@members.patch("/settings")
def change_settings() -> ResponseReturnValue:
    """Change some of the settings, in place."""
    user = require_user()
    user.settings.update(request.get_json())
    user.save()
    return dict(user.settings)


@members.put("/password")
def change_password() -> ResponseReturnValue:
    """Set another password."""
    user = require_user()
    user.password = request.get_json()["password"]
    user.save()
    return "", 204


@members.delete("/users/<int:user_id>")
def leave(user_id: int) -> ResponseReturnValue:
    """Delete a member; topics and posts stay, and belong to nobody."""
    require_user()
    db.get_or_404(User, user_id).delete()
    return "", 204
