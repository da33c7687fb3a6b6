"""What can be asked of the application."""

from __future__ import annotations

from flask import Blueprint, abort, current_app, request, session
from flask.typing import ResponseReturnValue

from apps.accounts.models import User, db, trail

users = Blueprint("users", __name__)


@users.post("/users")
def add() -> ResponseReturnValue:
    """Register."""
    user = User(username=request.form["username"], email=request.form.get("email"))
    user.set_password(request.form["password"])
    db.session.add(user)
    db.session.commit()
    current_app.logger.info("new user %s", user.id)
    return {"id": user.id, "username": user.username}, 201


@users.post("/login")
def login() -> ResponseReturnValue:
    """Log in; the trail knows of every attempt."""
    user = db.session.execute(
        db.select(User).filter_by(username=request.form["username"])
    ).scalar_one_or_none()
    good = user is not None and user.has_password(request.form["password"])
    trail.record(db.session, "user.login", target=user, outcome="success" if good else "failure")
    db.session.commit()
    if user is None or not good:
        abort(401)
    session["user_id"] = user.id
    return {"id": user.id}


@users.patch("/users/<int:user_id>")
def change(user_id: int) -> ResponseReturnValue:
    """Change what is given; a user without an `@` in the address is refused, late."""
    user = db.get_or_404(User, user_id)
    user.email = request.form["email"]
    db.session.flush()
    if "@" not in request.form["email"]:
        raise ValueError(request.form["email"])
    db.session.commit()
    return {"id": user.id, "email": user.email}


@users.delete("/users/<int:user_id>")
def remove(user_id: int) -> ResponseReturnValue:
    """Remove a user."""
    db.session.delete(db.get_or_404(User, user_id))
    db.session.commit()
    return "", 204
