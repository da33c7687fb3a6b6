"""The choice between databases: made in one place, and for supported ones only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy.dialects import mysql, postgresql, sqlite

from auditspan.errors import AuditConfigError
from auditspan.storage.dialects import DIALECTS, PerDialect, require_supported

SOURCE = Path(__file__).parents[2] / "src"
CHOICE = PerDialect(postgresql="p", sqlite="s")


def test_code_does_not_compare_the_name_of_a_dialect() -> None:
    """Only the choice itself reads the name, two migrations and a span attribute."""
    readers = {
        path.name
        for path in SOURCE.rglob("*.py")
        if re.search(r"dialect\.name|get_dialect\(", path.read_text(encoding="utf-8"))
    }
    assert readers == {
        "per_dialect.py",
        "transaction_spans.py",
        "0002_trail.py",
        "0003_triggers.py",
    }


def test_choice_is_by_database() -> None:
    """The driver does not matter."""
    assert ["p", "s"] == [CHOICE.of(postgresql.dialect()), CHOICE.of(sqlite.dialect())]  # type: ignore[no-untyped-call]


def test_unsupported_database_is_refused_with_the_supported_ones() -> None:
    """The message names them."""
    with pytest.raises(AuditConfigError, match=r"database mysql: .* PostgreSQL 13 .* SQLite"):
        DIALECTS.of(mysql.dialect())
    assert CHOICE.find(mysql.dialect()) is None


def test_old_version_is_refused() -> None:
    """PostgreSQL 12 lacks `pg_current_xact_id`."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    dialect.server_version_info = (12, 4)
    with pytest.raises(AuditConfigError, match=r"unsupported PostgreSQL version 12\.4"):
        require_supported(dialect)
