"""An application of a few models under a trail, made by the test that needs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, MetaData, func, select
from sqlalchemy.orm import Session, sessionmaker

from auditspan import Actor, AuditTrail, MacKey, audit_context
from auditspan.storage.audit_change import staging_of
from auditspan.verify.state import check_state

KEY = MacKey.from_secret(bytes(range(32)))
KIM = Actor.user(7, label="kim")


@dataclass(frozen=True, kw_only=True)
class Application:
    """Sessions under a trail, and what the trail says.

    Attributes:
        outside: another engine on the same database, of which the trail knows nothing.
    """

    engine: Engine
    metadata: MetaData
    sessions: sessionmaker[Session]
    trail: AuditTrail

    @contextmanager
    def unit_of_work(self, actor: Actor = KIM) -> Iterator[Session]:
        """An actor and a transaction."""
        with audit_context(actor=actor), self.sessions.begin() as session:
            yield session

    def events(self) -> list[dict[str, Any]]:
        """The committed bodies in id order."""
        event = self.trail.tables.event
        with self.engine.connect() as connection:
            return [json.loads(b) for b in connection.scalars(select(event.c.body).order_by("id"))]

    def told(self) -> list[tuple[str, str | None, dict[str, Any]]]:
        """The action, the target id and the changes of each event."""
        return [(e["action"], (e["target"] or {}).get("id"), e["changes"]) for e in self.events()]

    def news(self, column: str) -> list[Any]:
        """The new values of a column, where an event tells one."""
        return [c[column]["new"] for _, _, c in self.told() if "new" in c.get(column, {})]

    def check(self) -> None:
        """The oracle: replaying the trail gives the live tables, and nothing is left staged."""
        level = "REPEATABLE READ" if self.engine.dialect.name == "postgresql" else "SERIALIZABLE"
        with self.engine.connect().execution_options(isolation_level=level) as connection:
            report = check_state(connection, self.trail.tables, self.metadata, mac_key=KEY)
        assert [] == report.differences
        staging = staging_of(self.metadata)
        assert staging is not None
        with self.engine.connect() as connection:
            left = select(func.count()).select_from(staging).where(staging.c.id > 0)
            assert 0 == connection.scalar(left)


def make_application(engine: Engine, metadata: MetaData, **options: Any) -> Application:
    """Create the tables of these models and put them under a trail."""
    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=metadata, **({"mac_key": KEY} | options))
    metadata.create_all(engine)
    return Application(engine=engine, metadata=metadata, sessions=sessions, trail=trail)
