"""Choice of the implementation for the database of a connection."""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

from sqlalchemy import Connection, Dialect, Engine

from auditspan.errors import AuditConfigError

_T = TypeVar("_T")

_Source: TypeAlias = Connection | Engine | Dialect


class PerDialect(Generic[_T]):
    """One implementation for each supported database.

    To support another database, add a parameter: the type checker then names every missing part.
    """

    def __init__(self, *, postgresql: _T, sqlite: _T) -> None:
        self._known = {"postgresql": postgresql, "sqlite": sqlite}

    def of(self, source: _Source) -> _T:
        """Return the implementation for this database.

        Raises:
            AuditConfigError: the database is not supported.
        """
        found = self.find(source)
        if found is None:
            dialect = source if isinstance(source, Dialect) else source.dialect
            raise AuditConfigError(
                f"unsupported database {dialect.name}: auditspan requires PostgreSQL 13 or newer, "
                "or SQLite; bind the session to one of those"
            )
        return found

    def find(self, source: _Source) -> _T | None:
        """Return the implementation for this database; None if the database is not supported."""
        dialect = source if isinstance(source, Dialect) else source.dialect
        return self._known.get(dialect.name)
