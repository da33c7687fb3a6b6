"""`Idempotency-Key`: repeating a POST with the same key creates nothing more.

The key is remembered for a day, in the transaction that creates the object: a repeat that arrives
meanwhile waits for it. A repeat is answered with the present state of the object.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel
from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from auditspan.format import MacKey, canonical_json
from auditspan.storage.dialects import PerDialect
from auditspan_service.api.auth import caller
from auditspan_service.api.current import services
from auditspan_service.api.problems import Problem
from auditspan_service.errors import NotFoundError
from auditspan_service.models import IdempotencyKey, utc_now

HEADER = "Idempotency-Key"
KEPT = timedelta(days=1)
"""The time for which a key is remembered."""

_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_FORGOTTEN_TOGETHER = 100
_INSERT = PerDialect[Callable[..., Any]](postgresql=postgresql.insert, sqlite=sqlite.insert)

_T = TypeVar("_T")


def once(
    session: Session,
    wanted: BaseModel,
    create: Callable[[], tuple[int, _T]],
    find: Callable[[int], _T],
) -> _T:
    """Create an object, or find the one that an earlier request with this key has created.

    Args:
        session: the session of the transaction that creates the object.
        wanted: the body of the request.
        create: creates the object, and returns it with its id.
        find: returns the object with an id.

    Raises:
        Problem: the key is malformed, belongs to another request, or the object was deleted.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return create()[1]
    if not _KEY.fullmatch(key):
        raise Problem.of("malformed-header", f"{HEADER} must be 1 to 255 ASCII characters.")
    key_hash = _hash(key)
    _forget(session)
    if _claim(session, key_hash, wanted):
        created_id, created = create()
        session.execute(_of(key_hash).values(created_id=created_id))
        return created
    return _found(session, key_hash, wanted, find)


def _found(session: Session, key_hash: str, wanted: BaseModel, find: Callable[[int], _T]) -> _T:
    known = session.execute(
        select(IdempotencyKey.request_mac, IdempotencyKey.created_id).where(
            IdempotencyKey.key_hash == key_hash
        )
    ).one()
    macs = (_mac(key, wanted) for key in services().mac_keys)
    if not any(hmac.compare_digest(known.request_mac, mac) for mac in macs):
        raise Problem.of(
            "idempotency-key-reused",
            f"This {HEADER} belongs to an earlier request with another path or body: "
            "use a new key for a new request.",
        )
    try:
        return find(known.created_id)
    except NotFoundError as error:
        raise Problem.of(
            "already-executed", "The request was executed before. What it created was deleted."
        ) from error


def _claim(session: Session, key_hash: str, wanted: BaseModel) -> bool:
    """Note the key, and return whether this request is the first; wait for one that is running."""
    values = {
        "key_hash": key_hash,
        "request_mac": _mac(services().mac_keys[0], wanted),
        "created_at": utc_now(),
    }
    insert = _INSERT.of(session.connection())(IdempotencyKey.__table__).values(values)
    options = {"preserve_rowcount": True}
    result: Any = session.execute(insert.on_conflict_do_nothing(), execution_options=options)
    return bool(result.rowcount == 1)


def _forget(session: Session) -> None:
    """Remove some keys that are older than a day, without waiting for other requests that do."""
    old = (
        select(IdempotencyKey.key_hash)
        .where(IdempotencyKey.created_at < utc_now() - KEPT)
        .limit(_FORGOTTEN_TOGETHER)
        .with_for_update(skip_locked=True)
    )
    table: Any = IdempotencyKey.__table__
    session.execute(delete(table).where(table.c.key_hash.in_(old)))


def _of(key_hash: str) -> Any:  # noqa: ANN401 (an UPDATE)
    table: Any = IdempotencyKey.__table__
    return update(table).where(table.c.key_hash == key_hash)


def _hash(key: str) -> str:
    """Return the hash of a key of this caller; the same key of another one is another key."""
    own = canonical_json([caller().actor_id, caller().tenant, key])
    return hashlib.sha256(own.encode()).hexdigest()


def _mac(key: MacKey, wanted: BaseModel) -> str:
    """Return the MAC of the request; from a plain hash, a short body could be guessed."""
    text = canonical_json([request.method, request.path, wanted.model_dump(mode="json")])
    message = b"auditspan-idempotency\0" + text.encode()
    return hmac.new(key.secret, message, hashlib.sha256).hexdigest()
