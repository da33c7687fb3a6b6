"""SQLite databases with the service's schema: migrated once per process, and copied."""

from __future__ import annotations

from pathlib import Path

from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from support.templates import Template

_FILE = "migrated.db"


def _migrate(url: str, _folder: Path) -> None:
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()


_MIGRATED = Template(_migrate, file=_FILE)


def migrated_sqlite(path: Path) -> str:
    """The URL of a new SQLite database at this path."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _MIGRATED.copied("sqlite", path.parent):
        (path.parent / _FILE).rename(path)
    return f"sqlite:///{path}"
