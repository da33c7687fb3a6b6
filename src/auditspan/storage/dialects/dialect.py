"""Part of a supported database that several layers need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection


class AuditDialect(Protocol):
    """Part of a database that every layer may use.

    Attributes:
        IMAGES_ARE_TAGGED: whether its triggers stage bytes as objects with a tag.
        RETURNING: the end of an INSERT that makes the driver count only rows that were inserted.
        SNAPSHOT: the execution options of a transaction that reads one snapshot.
    """

    IMAGES_ARE_TAGGED: bool
    RETURNING: str
    SNAPSHOT: Mapping[str, str]

    def require_version(self, version: tuple[int, ...], /) -> None:
        """Refuse a version of the server that is too old.

        Raises:
            AuditConfigError: the version is too old.
        """

    def bound_time(self, utc: datetime, /) -> datetime:
        """Return a time in UTC as the driver stores it."""

    def text_decoder(self) -> Callable[[bytes | None], str | None] | None:
        """Return the decoder of a text that is read as bytes; None if it is read as text."""

    def lift_time_limits(self, connection: Connection, /) -> None:
        """Disable the role's time limits for this transaction and each of its statements."""

    def kept_alive(self, connection: Connection, /) -> AbstractContextManager[None]:
        """Prevent the server from ending the session as idle inside the block."""

    def read_snapshot(self, connection: Connection, /) -> None:
        """Make the transaction read one snapshot, before its first query."""

    def require_snapshot(self, connection: Connection, /) -> None:
        """Check that all statements of this transaction read one snapshot.

        Raises:
            AuditConfigError: each statement has its own.
        """
