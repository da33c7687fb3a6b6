"""Tokens: signed, and kept in the table until they are revoked."""

from __future__ import annotations

import secrets
from datetime import timedelta
from uuid import UUID, uuid4

from flask import Blueprint, abort, current_app, request
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import select, update

from apps.api.database import sessions
from apps.api.models import Client, Token, now

auth = Blueprint("auth", __name__)


def current_client() -> str | None:
    """The client of the request's token, if it is good."""
    token = _current_token()
    return None if token is None else str(token.client_id)


def require_client() -> UUID:
    """The client of the request's token, or 401."""
    return UUID(current_client() or abort(401))


@auth.post("/clients")
def add_client() -> ResponseReturnValue:
    """Register a program; its key is shown this once."""
    client = Client(name=request.get_json()["name"], api_key=secrets.token_urlsafe(24))
    sessions.add(client)
    sessions.commit()
    return {"id": str(client.id), "api_key": client.api_key}, 201


@auth.post("/tokens")
def issue() -> ResponseReturnValue:
    """Give out a token for a key."""
    query = select(Client).filter_by(api_key=request.get_json()["api_key"])
    client = sessions.scalar(query) or abort(401)
    jti = uuid4()
    token = _serializer().dumps({"jti": str(jti), "sub": str(client.id)})
    expires = now() + timedelta(hours=1)
    sessions.add(Token(jti=jti, client_id=client.id, token=str(token), expires_at=expires))
    sessions.commit()
    return {"token": token}, 201


@auth.delete("/tokens/current")
def revoke() -> ResponseReturnValue:
    """Revoke the request's token."""
    token = _current_token() or abort(401)
    token.revoked_at = now()
    sessions.commit()
    return "", 204


@auth.delete("/tokens")
def revoke_all() -> ResponseReturnValue:
    """Revoke all tokens of the client but this one, by a statement."""
    current = _current_token() or abort(401)
    others = update(Token).where(Token.client_id == current.client_id, Token.jti != current.jti)
    revoked = sessions.execute(others.values(revoked_at=now()).returning(Token.jti)).all()
    sessions.commit()
    return {"revoked": len(revoked)}


@auth.patch("/clients/me")
def change_settings() -> ResponseReturnValue:
    """Change some of the settings, in place."""
    client = sessions.get_one(Client, require_client())
    client.settings.update(request.get_json())
    sessions.commit()
    return dict(client.settings)


@auth.delete("/clients/me")
def leave() -> ResponseReturnValue:
    """Delete the client; the database deletes what belongs to it."""
    sessions.delete(sessions.get_one(Client, require_client()))
    sessions.commit()
    return "", 204


def _current_token() -> Token | None:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        claims = _serializer().loads(given)
    except BadSignature:
        return None
    token = sessions.get(Token, UUID(claims["jti"]))
    return None if token is None or token.revoked_at is not None else token


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.secret_key or "")
