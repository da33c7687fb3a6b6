"""Another program on the same database, which the audit trail does not see."""

from __future__ import annotations

from sqlalchemy import Engine, NullPool, create_engine


def as_stranger(engine: Engine, sql: str) -> None:
    """Run SQL past SQLAlchemy, on a connection of its own, and commit it."""
    connection = create_engine(engine.url, poolclass=NullPool).raw_connection()
    try:
        connection.cursor().execute(sql)
        connection.commit()
    finally:
        connection.close()
