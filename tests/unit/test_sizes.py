"""Modules and functions stay small enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
MODULES = sorted(SRC.rglob("*.py"))
ENTRIES = {"auditspan": 20, "auditspan_service": 22}
"""The entries of each package, so that a listing shows its layers."""
LINES = 300
"""The lines of a module."""
LINES_OF_FUNCTION = 40
"""The lines of a function, without its docstring."""


@pytest.mark.parametrize("package", ENTRIES)
def test_a_package_has_few_entries(package: str) -> None:
    """A new noun goes into the folder of its layer."""
    entries = {path.name for path in (SRC / package).iterdir()} - {"__pycache__"}
    assert len(entries) <= ENTRIES[package], sorted(entries)


def test_modules_have_few_lines() -> None:
    """One noun per file."""
    sizes = {str(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {} == {path: size for path, size in sizes.items() if size > LINES}


def test_functions_have_few_lines() -> None:
    """With the signature, which is the longest part of some."""
    assert [] == [found for path in MODULES for found in long_functions(path.read_text())]


def test_a_long_function_is_found() -> None:
    """The check counts the lines of the body, not those of the docstring."""
    body = "    x = 1\n" * LINES_OF_FUNCTION
    docstring = '    """A.\n\n    B.\n    """\n'
    assert [("f", 41)] == list(long_functions(f"def f():\n{docstring}{body}"))
    assert [] == list(long_functions(f"def f():\n{docstring}{body[10:]}"))


def long_functions(source: str) -> Iterator[tuple[str, int]]:
    """Each function with too many lines, and how many."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = _lines(node) - (_lines(node.body[0]) if ast.get_docstring(node) else 0)
            if lines > LINES_OF_FUNCTION:
                yield node.name, lines


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or 0) - node.lineno + 1
