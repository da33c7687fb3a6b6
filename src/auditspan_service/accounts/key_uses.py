"""Last uses of API keys, written in the background and not by the requests that use them.

A use is written within some seconds. Those of a process that is killed may be lost: the time of the
last use helps to find unused keys, and nothing depends on it.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Iterable
from datetime import datetime

from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from auditspan.telemetry import type_name
from auditspan_service.database.engine import Database
from auditspan_service.models import KeyUse, utc_now

_INTERVAL = 10.0

_logger = logging.getLogger(__name__)


class KeyUses:
    """Uses of this process that are not written yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: dict[int, datetime] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def note(self, key_id: int) -> None:
        """Note that a key is used now."""
        with self._lock:
            self._used[key_id] = utc_now()
            if self._timer is None:
                self._timer = threading.Timer(_INTERVAL, self.write)
                self._timer.daemon = True
                self._timer.start()
                atexit.register(self.write)

    def write(self) -> None:
        """Write the noted uses; if the database refuses, log that and forget them."""
        with self._lock:
            used, self._used, timer, self._timer = self._used, {}, self._timer, None
        if timer is not None:
            timer.cancel()
            atexit.unregister(self.write)
        try:
            with suppress_instrumentation(), self._database.writing() as session:
                for key_id, at in sorted(used.items()):
                    _write(session, key_id, at)
        except SQLAlchemyError as error:
            _logger.info("the last uses of API keys were not written: %s", type_name(error))


def last_uses(session: Session, key_ids: Iterable[int]) -> dict[int, datetime]:
    """Return the last use of each of these keys that was used."""
    found = session.scalars(select(KeyUse).where(KeyUse.key_id.in_(list(key_ids))))
    return {use.key_id: use.last_used_at for use in found}


def _write(session: Session, key_id: int, at: datetime) -> None:
    of_key = KeyUse.key_id == key_id
    if session.scalars(select(KeyUse.key_id).where(of_key).with_for_update()).first() is None:
        session.execute(insert(KeyUse).values(key_id=key_id, last_used_at=at))
    else:
        session.execute(update(KeyUse).where(of_key).values(last_used_at=at))
