"""`Idempotency-Key`: a request that creates an object does so once, however often it is sent.

The key is claimed in the transaction that creates the object: parallel repeats wait for it, and a
request that fails leaves no claim. The claim has hashes and the id of the object, but no text of an
API key and no personal data, so a repeat is answered with the object as it is now.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import request
from pydantic import BaseModel
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from werkzeug.exceptions import BadRequest

from auditspan.storage.dialects import PerDialect
from auditspan_service.api.auth import caller
from auditspan_service.api.problems import Problem
from auditspan_service.models import IdempotencyKey, utc_now

KEPT = timedelta(days=1)
"""The time for which a repeat is recognized, at least."""

_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_FORGOTTEN = 100
"""Old claims that one request removes."""

_INSERT = PerDialect[Callable[..., Any]](postgresql=postgresql.insert, sqlite=sqlite.insert)


@dataclass(frozen=True)
class Claim:
    """Claim of the request's key; without one, nothing is remembered.

    Attributes:
        row: the stored claim of this request, or of an earlier one that it repeats.
    """

    row: IdempotencyKey | None = None

    @property
    def object_id(self) -> int | None:
        """The id of the object that an earlier request has created; None if this one is new."""
        return self.row.object_id if self.row else None

    def remember(self, object_id: int) -> None:
        """Set the id of the created object."""
        if self.row:
            self.row.object_id = object_id


def claim(session: Session, wanted: BaseModel) -> Claim:
    """Claim the key of the current request, if it has one, until the transaction ends.

    Args:
        session: the transaction that creates the object.
        wanted: the validated body.

    Raises:
        BadRequest: the key is malformed.
        Problem: the key was used for another request.
    """
    key = request.headers.get(_HEADER)
    if key is None:
        return Claim()
    if not _KEY.fullmatch(key):
        raise BadRequest(f"{_HEADER} must have 1 to 255 printable ASCII characters.")
    row = _claimed(session, _hash(caller().actor_id, key), _request_hash(key, wanted))
    if row.request_hash != _request_hash(key, wanted):
        raise Problem.of(
            "idempotency-key-reused",
            f"This {_HEADER} belongs to an earlier request with another path or body.",
        )
    return Claim(row)


def _claimed(session: Session, key_hash: str, request_hash: str) -> IdempotencyKey:
    """Return the claim with this key; waits for a parallel request that holds it."""
    _forget_old(session)
    values = {"key_hash": key_hash, "request_hash": request_hash, "created_at": utc_now()}
    insert = _INSERT.of(session.connection())(IdempotencyKey)
    session.execute(insert.values(values).on_conflict_do_nothing())
    return session.get_one(IdempotencyKey, key_hash)


def _forget_old(session: Session) -> None:
    old = select(IdempotencyKey.key_hash).where(IdempotencyKey.created_at < utc_now() - KEPT)
    some = old.limit(_FORGOTTEN).with_for_update(skip_locked=True)
    session.execute(
        delete(IdempotencyKey).where(IdempotencyKey.key_hash.in_(some)),
        execution_options={"synchronize_session": False},
    )


def _request_hash(key: str, wanted: BaseModel) -> str:
    """Return the hash of the request; the key in it prevents guessing what the body was."""
    return _hash(key, request.method, request.path, wanted.model_dump_json())


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
