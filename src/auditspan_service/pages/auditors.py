"""The signed-in auditor of the current request.

The cookie holds the id of the key, and never its text. The key is looked up for each request, so
that a revoked key signs out at once.
"""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import urlencode

from flask import abort, g, redirect, request, session, url_for

from auditspan.viewer import Account
from auditspan_service.accounts.api_keys import find_live_key
from auditspan_service.accounts.principals import Principal
from auditspan_service.api.auth import PRINCIPAL
from auditspan_service.api.current import services

SCOPE = "audit:read"
"""The scope that a key needs to sign in."""

_KEY_ID = "key_id"
_CSRF_TOKEN = "csrf_token"  # noqa: S105 (the name of a member)


def can_view() -> bool:
    """Return True for a signed-in auditor; otherwise redirect to the page for signing in.

    Raises:
        HTTPException: the redirect. A poll of a live page is refused instead.
    """
    key = _signed_in_key()
    if key is None:
        return _refused()
    setattr(g, PRINCIPAL, key)  # the actor of the views
    return True


def account() -> Account | None:
    """Return the account to show in the header, with the token of its sign-out form."""
    key: Principal | None = g.get(PRINCIPAL)
    if key is None:
        return None
    return Account(name=key.label, sign_out_url=url_for("pages.sign_out"), csrf_token=csrf_token())


def remember(key: Principal) -> None:
    """Begin a new session for the owner of this key."""
    session.clear()
    session[_KEY_ID] = key.key_id
    session.permanent = True
    setattr(g, PRINCIPAL, key)


def forget() -> None:
    """End the session."""
    session.clear()


def csrf_token() -> str:
    """Return the token that a form of this session must send back."""
    token: str = session.setdefault(_CSRF_TOKEN, secrets.token_urlsafe(32))
    return token


def is_csrf_token(given: str) -> bool:
    """Return whether a form came from a page of this session."""
    return hmac.compare_digest(given.encode(), str(session.get(_CSRF_TOKEN, "")).encode()) and bool(
        given
    )


def _refused() -> bool:
    if not request.headers.get("HX-Request"):
        wanted = request.full_path.rstrip("?")
        named = {} if wanted == "/" else {"next": wanted}
        abort(redirect(f"{url_for('pages.sign_in')}?{urlencode(named)}".rstrip("?")))
    return False


def may_view(key: Principal) -> bool:
    """Return whether the pages, which show the whole trail, are for the owner of this key."""
    return key.allows(SCOPE) and key.tenant is None


def _signed_in_key() -> Principal | None:
    key_id = session.get(_KEY_ID)
    if not isinstance(key_id, int):
        return None
    with services().database.reading() as reading:
        key = find_live_key(reading, key_id)
    return key if key and may_view(key) else None
