"""Sinks in an environment that configures none of them."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("AUDITSPAN_", "OTEL_")) and name != "AUDITSPAN_TEST_DATABASE_URL":
            monkeypatch.delenv(name)
