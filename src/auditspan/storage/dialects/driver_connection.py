"""The connection of the driver below a connection of SQLAlchemy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection


def driver_connection(connection: Connection) -> Any:  # noqa: ANN401 (each driver has its own)
    """Return the connection of the driver, also if it was detached from its pool."""
    pooled = connection.connection
    found = pooled.driver_connection
    if found is None and pooled.dbapi_connection is not None:
        return connection.dialect.get_driver_connection(pooled.dbapi_connection)
    return found
