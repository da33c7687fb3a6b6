"""One database for tests of answers that do not depend on it."""

from __future__ import annotations

import pytest

ONE_DATABASE = pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)],
    indirect=True,
)
"""For requests that the service refuses before it asks the database: PostgreSQL is `slow`."""
