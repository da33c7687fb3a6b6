"""Capture relies on nothing that SQLAlchemy may change without a notice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "auditspan"
MODULES = sorted(path for name in ("capture", "mapping") for path in (SRC / name).rglob("*.py"))
OWN = {"self", "cls"}
NAMED_TUPLES = {"_replace", "_asdict", "_fields", "_make"}
"""Public methods of named tuples, with an underscore so that they clash with no field."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_capture_uses_no_private_name(path: Path) -> None:
    """Neither an attribute nor an import of another package begins with an underscore."""
    assert [] == list(private_names(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "connection._dbapi_connection",
        "mapper._configured_mappers()",
        "from sqlalchemy.orm._typing import _T",
        "import sqlalchemy.engine._py_row",
        "getattr(session, '_transaction')",
    ],
)
def test_a_private_name_is_found(source: str) -> None:
    """As an attribute, an import, and text that names an attribute."""
    assert [] != list(private_names(source))


def private_names(source: str) -> Iterator[str]:
    """Each private name of another object or package."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not _is_own(node):
            yield from _private(node.attr)
        elif isinstance(node, ast.Import):
            yield from (found for name in node.names for found in _private(name.name))
        elif isinstance(node, ast.ImportFrom):
            yield from _private(".".join([str(node.module), *(name.name for name in node.names)]))
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"getattr", "setattr"}:
            name = node.args[1]
            yield from _private(str(name.value)) if isinstance(name, ast.Constant) else ()


def _is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in OWN


def _private(dotted: str) -> Iterator[str]:
    for name in dotted.split("."):
        is_special = name.startswith("__") and name.endswith("__")
        if name.startswith("_") and not is_special and name not in NAMED_TUPLES:
            yield name
