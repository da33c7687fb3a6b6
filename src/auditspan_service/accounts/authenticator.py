"""Authentication of bearer credentials: API keys, and tokens where they are accepted."""

from __future__ import annotations

import time

from auditspan_service.accounts.api_keys import authenticate, parse_key
from auditspan_service.accounts.key_cache import KeyCache
from auditspan_service.accounts.key_uses import KeyUses
from auditspan_service.accounts.principals import Principal
from auditspan_service.accounts.tokens import TokenVerifier
from auditspan_service.config import Settings
from auditspan_service.database.engine import Database


class Authenticator:
    """Authenticator of the callers of one process."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.uses = KeyUses(database)
        self._database = database
        self._cache = KeyCache(seconds=settings.key_cache_seconds)
        self._tokens = TokenVerifier(settings) if settings.jwt_jwks_url else None

    def find(self, text: str) -> Principal | None:
        """Return the principal of a key or a token, or None if it is not valid (any more).

        Raises:
            KeysUnavailableError: the keys that tokens are checked with cannot be fetched.
        """
        if self._tokens is None or text.startswith("ask_"):
            return self.find_key(text)
        return self._tokens.find(text)

    def find_key(self, text: str) -> Principal | None:
        """Return the principal of an API key, or None if it is not valid (any more)."""
        parsed, begun = parse_key(text), time.monotonic()
        found = self._cache.find(parsed) if parsed else None
        if found is None:
            with self._database.reading() as session:
                found = authenticate(session, text)
            if parsed and found:
                self._cache.remember(parsed, found, begun)
        if found is not None and found.key_id is not None:
            self.uses.note(found.key_id)
        return found
