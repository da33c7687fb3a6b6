"""The table of what is captured names a test for every line, and every test of a statement."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "tests" / "integration" / "library"
PAGE = (ROOT / "docs" / "reference" / "capture.md").read_text(encoding="utf-8")


def functions(module: str) -> set[str]:
    """The functions at the top of a test module."""
    tree = ast.parse((LIBRARY / f"{module}.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def cases() -> set[str]:
    """The statements that are tested."""
    tree = ast.parse((LIBRARY / "test_statements.py").read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any("case_" in ast.unparse(one) for one in node.decorator_list)
    }


def named() -> list[tuple[str, str]]:
    """Module and function of every test that the page names, line by line."""
    found = []
    for line in PAGE.splitlines():
        module = re.search(r"`(test_\w+)::", line)
        if module:
            found += [(module[1], name) for name in re.findall(r"`(?:test_\w+::)?(\w+)`", line)]
    return [(module, name) for module, name in found if name in functions(module) | cases()]


def test_every_line_names_a_test_that_is_there() -> None:
    """A line without its test would be a claim that nobody checks."""
    lines = [line for line in PAGE.splitlines() if re.search(r"`test_\w+::", line)]
    assert len(lines) > 25
    for line in lines:
        for module, name in re.findall(r"`(test_\w+)::(\w+)`", line):
            assert name in functions(module), f"{module} has no {name}"


def test_every_tested_statement_stands_in_the_table() -> None:
    """What is tested is told; what is told is tested."""
    assert {name for module, name in named() if module == "test_statements"} == cases()
