"""The page of what is captured names a test for every line, and the test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("integration/library", "integration/capture")
PAGE = (ROOT / "docs" / "reference" / "capture.md").read_text(encoding="utf-8")


def functions_of(module: str) -> set[str]:
    """The tests of the modules with this name."""
    paths = (ROOT / "tests" / folder / f"{module}.py" for folder in FOLDERS)
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_is_there() -> None:
    """A line of the page without its test would be an unchecked claim."""
    named = re.findall(r"`(test_\w+)::(\w+)`", PAGE)
    assert len(named) > 30
    assert [] == [(module, name) for module, name in named if name not in functions_of(module)]


def test_every_way_of_writing_and_every_content_names_a_test() -> None:
    """A line without a test is only a hope."""
    tables = PAGE.partition("## Refused")[0]
    lines = [line for line in tables.splitlines() if line.startswith("| ")]
    told = [line for line in lines if not line.startswith(("| Way of", "| ---", "|  |", "| | |"))]
    assert [] == [line for line in told if not re.search(r"`test_\w+::\w+` \|$", line)]
