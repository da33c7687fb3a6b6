"""The warning of a trail that was given neither a MAC key nor None."""

from __future__ import annotations

import subprocess
import sys

START = (
    "import {imports}\nfrom sqlalchemy import MetaData, create_engine\n"
    "from sqlalchemy.orm import sessionmaker\n"
)
TRAIL = (
    "engine = create_engine('sqlite://')\nsessions = sessionmaker(engine)\n"
    "trail = auditspan.AuditTrail(sessions, metadata=MetaData(){key})\n"
)
WRITE = (
    "trail.tables.event.metadata.create_all(engine)\n"
    "with auditspan.audit_context(actor=auditspan.Actor.system('test')):\n"
    "    with sessions.begin() as session:\n"
    "        trail.record(session, 'invoice.sent')\n"
)


def said(*keys: str, imports: str = "auditspan", write: str = WRITE) -> str:
    """Return the standard error of a program that writes to trails with these arguments."""
    program = START.format(imports=imports)
    program += "".join(TRAIL.format(key=key) + write for key in keys)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stderr


def test_a_trail_without_a_key_warns_once() -> None:
    """The warning says what is missing, and how it is silenced; a second trail says nothing."""
    (line,) = said("", "").splitlines()
    assert "AuditTrail has no mac_key" in line
    assert "mac_key=None to run without a key" in line


def test_a_trail_that_is_not_written_to_does_not_warn() -> None:
    """`flask audit init` imports the application and its trail before it makes the key."""
    assert "" == said("", write="")


def test_a_trail_with_a_key_does_not_warn() -> None:
    """Nor does one that was told to do without."""
    assert "" == said(", mac_key=auditspan.MacKey.from_secret(bytes(32))", ", mac_key=None")


def test_a_trail_under_test_does_not_warn() -> None:
    """`auditspan.testing` is imported by test suites, which need no key."""
    assert "" == said("", imports="auditspan, auditspan.testing")
