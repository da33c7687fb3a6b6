"""The tutorial, from its first line to its last, with a real collector."""

from __future__ import annotations

from pathlib import Path

from documents.conftest import Network
from documents.page import ROOT, blocks
from documents.walk import problems, walk

PAGE = ROOT / "docs" / "tutorial" / "from-flask-app-to-proven-trail.md"
TAMPERED = """flask --app 'app:create_app("sqlite:///copy.db")' audit verify"""


def test_tutorial_is_true(checkout: Path, network: Network) -> None:
    """Every command succeeds, and prints what the page shows; `verify` finds the changed copy."""
    done = walk(blocks(PAGE), checkout, network.environ, network.replace)
    assert [] == problems(done, {TAMPERED: 1})
