"""Column types of the audit tables, on PostgreSQL and SQLite."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler, TypeCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, UserDefinedType

from auditspan.errors import AuditConfigError
from auditspan.storage.dialects import DIALECTS


class UtcDateTime(TypeDecorator[datetime]):
    """Aware timestamp in UTC with microseconds; naive values are refused."""

    __module__ = "auditspan.alembic"  # where a generated migration imports it from

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; SQLite stores it without a time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise AuditConfigError("timestamp without a time zone: pass an aware datetime")
        utc = value.astimezone(UTC)
        return DIALECTS.of(dialect).bound_time(utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert to UTC, regardless of the session's time zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class TransactionId(UserDefinedType[str]):
    """PostgreSQL's xid8. SQLite has no transaction ids; the column is NULL there."""

    __module__ = "auditspan.alembic"  # where a generated migration imports it from

    cache_ok = True


@compiles(TransactionId, "postgresql")
def _xid8(_type: TransactionId, _compiler: TypeCompiler, **_: object) -> str:
    return "XID8"


@compiles(TransactionId)
def _no_xid8(_type: TransactionId, _compiler: TypeCompiler, **_: object) -> str:
    return "TEXT"


class TupleId(UserDefinedType[str]):
    """PostgreSQL's tid, the location of a row. The column is NULL on SQLite."""

    __module__ = "auditspan.alembic"  # where a generated migration imports it from

    cache_ok = True


@compiles(TupleId, "postgresql")
def _tid(_type: TupleId, _compiler: TypeCompiler, **_: object) -> str:
    return "TID"


@compiles(TupleId)
def _no_tid(_type: TupleId, _compiler: TypeCompiler, **_: object) -> str:
    return "TEXT"


# Otherwise reflection (Alembic's autogenerate) would warn about an unknown type.
ischema_names.setdefault("xid8", TransactionId)
ischema_names.setdefault("tid", TupleId)


class DatabaseClock(FunctionElement[datetime]):
    """Current time by the database clock."""

    inherit_cache = True


class TransactionIdNow(FunctionElement[str]):
    """Id of the current transaction (PostgreSQL); NULL elsewhere."""

    inherit_cache = True


@compiles(DatabaseClock, "postgresql")
def _clock_postgresql(_e: DatabaseClock, _c: SQLCompiler, **_: object) -> str:
    return "clock_timestamp()"


@compiles(DatabaseClock)
def _clock_sqlite(_e: DatabaseClock, _c: SQLCompiler, **_: object) -> str:
    # SQLite's clock has milliseconds; the zeros make the text as long as SQLAlchemy's format.
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"


@compiles(TransactionIdNow, "postgresql")
def _xid_postgresql(_e: TransactionIdNow, _c: SQLCompiler, **_: object) -> str:
    return "pg_current_xact_id()"


@compiles(TransactionIdNow)
def _xid_sqlite(_e: TransactionIdNow, _c: SQLCompiler, **_: object) -> str:
    return "NULL"


def database_time(connection: Connection) -> datetime:
    """Return the time of the clock that timestamps the rows."""
    now: datetime = connection.execute(
        select(type_coerce(DatabaseClock(), UtcDateTime()))
    ).scalar_one()
    return now
