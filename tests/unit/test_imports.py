"""The modules that importing auditspan and starting its command line load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import auditspan

SLOW = {
    "alembic",
    "asyncio",
    "cryptography",
    "flask",
    "google",
    "opentelemetry.proto",
    "opentelemetry.sdk",
    "pydantic",
    "rich",
    "urllib3",
    "yaml",
}
"""Packages that the request path does not need; all but `asyncio` come with extras."""

LOADED = "; import sys; print(*sys.modules)"
COMMAND = "from auditspan_service.cli import main; main(['{}'], standalone_mode=False)"


def loaded(program: str) -> set[str]:
    """Return the packages that a program loads, and their subpackages."""
    done = subprocess.run(
        [sys.executable, "-c", program + LOADED], capture_output=True, text=True, check=True
    )
    parts = [name.split(".") for name in done.stdout.splitlines()[-1].split()]
    return {".".join(part[:depth]) for part in parts for depth in (1, 2)}


@pytest.mark.parametrize(
    ("program", "forbidden"),
    [
        ("import auditspan", {*SLOW, "click", "opentelemetry", "sqlalchemy"}),
        (COMMAND.format("--version"), {*SLOW, "opentelemetry", "sqlalchemy"}),
        (COMMAND.format("--help"), {*SLOW, "opentelemetry", "sqlalchemy"}),
        ("from auditspan import AuditTrail", {*SLOW, "click"} - {"asyncio"}),
        (
            "from auditspan.cli.commands.trace import trace",
            {*SLOW, "sqlalchemy.orm"} - {"asyncio"},
        ),
    ],
)
def test_imports_load_no_package_that_they_do_not_need(program: str, forbidden: set[str]) -> None:
    """SQLAlchemy is loaded with the first name that needs it, and packages of extras never.

    `auditspan trace --files` finds a trace without the database.
    """
    assert set() == loaded(program) & forbidden


def test_every_public_name_is_an_attribute() -> None:
    """`dir` lists the names that are not imported yet, and an unknown name is refused."""
    assert set() == set(auditspan.__all__) - set(dir(auditspan))
    with pytest.raises(AttributeError, match="has no attribute 'AuditTral'"):
        getattr(auditspan, "AuditTral")  # noqa: B009 (the type checker refuses it too)
