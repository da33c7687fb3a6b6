"""The import rings: inside auditspan, imports go down only."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
#: From the innermost ring outwards. A module imports from its own ring and those before it.
RINGS = {
    "pure": "actions record diff redact canonical merkle proofs note signing mac errors ids verify "
    "columns body printable keyaddition changeorder",
    "SQLAlchemy": "capture coercion recorder values policy auditedmodel context tables appendonly "
    "guards indexes interference privileges serverroles store inserting partitions partitioning "
    "quarantine schemas sealed timeouts",
    "telemetry": "semconv metrics logrecord emit outbound answers otlp sinks otlpfile otlpjson "
    "tracetree collectorfiles otlpdocuments",
    "workers": "locks leases backoff progress delivery unsealed leaves sealer sending relay worker "
    "reconcile announced witness verification unsealedcheck state coverage backlog lastsigned "
    "undrained unkeyed",
    "edges": "trail carry alembic autogenerate stagingoperations flask boundary __init__ testing "
    "cli defaultkey keycover",
}
#: Modules that a noun may be split into without a new line here.
FAMILIES = {"tracetree": "telemetry"}
#: What else a ring may import, by top-level package.
FOREIGN = {
    "pure": {"cryptography"},  # Ed25519, which the standard library lacks
    "SQLAlchemy": {"sqlalchemy", "opentelemetry"},
    "telemetry": {"sqlalchemy", "opentelemetry", "urllib3", "google"},
    "workers": {"sqlalchemy", "opentelemetry"},
    "edges": {"sqlalchemy", "opentelemetry", "flask", "click", "pytest", "alembic"},
}
#: The pure ring has no clock, no randomness and no IO.
IMPURE_MODULES = {"os", "io", "sys", "time", "random", "secrets", "socket", "pathlib", "threading"}
IMPURE_MODULES |= {"subprocess", "tempfile", "logging", "shutil", "urllib", "http", "asyncio"}
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input", "uuid1", "uuid4", "uuid7"}
MODULES = sorted(
    path.relative_to(SOURCE / "auditspan") for path in (SOURCE / "auditspan").rglob("*.py")
)


def ring_of(module: str) -> str:
    """The ring of a module of auditspan, or a failure that says what to do."""
    for ring, names in RINGS.items():
        if module in names.split():
            return ring
    for family, ring in FAMILIES.items():
        if module.startswith(family):
            return ring
    pytest.fail(f"auditspan.{module} stands in no ring: give it one in {Path(__file__).name}")


def noun(path: Path) -> str:
    """The module, or the package, that a file below src/auditspan belongs to."""
    return path.parts[0].removesuffix(".py")


def tree(path: Path) -> ast.Module:
    """The syntax of a file below src/auditspan."""
    return ast.parse((SOURCE / "auditspan" / path).read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Every dotted name that a file imports, also in functions and under TYPE_CHECKING."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(path: Path) -> Iterator[str]:
    """The modules of auditspan that a file imports."""
    for name in imported(path):
        package, _, rest = name.partition(".")
        if package == "auditspan" and rest:
            first = rest.partition(".")[0]
            home = SOURCE / "auditspan"
            is_module = (home / f"{first}.py").exists() or (home / first).is_dir()
            yield first if is_module else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_from_its_own_ring_and_those_below(path: Path) -> None:
    """Imports go down only; a module that stands in no ring fails."""
    order = list(RINGS)
    own = order.index(ring_of(noun(path)))
    upwards = {name for name in inside(path) if order.index(ring_of(name)) > own}
    assert set() == upwards


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_ring_imports_only_the_packages_it_is_made_for(path: Path) -> None:
    """The pure ring is standard library only; the service is imported by nobody."""
    packages = {name.partition(".")[0] for name in imported(path)}
    foreign = packages - set(sys.stdlib_module_names) - {"auditspan"}
    assert set() == foreign - FOREIGN[ring_of(noun(path))]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_import_is_hidden_from_this_test(path: Path) -> None:
    """Nothing is imported by name at run time, which this test could not see."""
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
    }
    assert set() == called & {"import_module", "__import__", "exec", "eval"}


@pytest.mark.parametrize(
    "path", [path for path in MODULES if noun(path) in RINGS["pure"].split()], ids=str
)
def test_the_pure_ring_has_no_clock_no_randomness_and_no_io(path: Path) -> None:
    """The same arguments give the same result, always and everywhere."""
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
    }
    assert set() == called & IMPURE_CALLS
    assert set() == {name.partition(".")[0] for name in imported(path)} & IMPURE_MODULES


def test_only_the_signed_note_knows_cryptography() -> None:
    """Ed25519 is the one thing of the pure ring that the standard library lacks."""
    users = {noun(path) for path in MODULES if "cryptography" in " ".join(imported(path))}
    assert users <= {"note"}


def test_only_the_recorder_knows_telemetry_in_the_sqlalchemy_ring() -> None:
    """Capture announces through a function that it is given; only the recorder asks for the span.

    And it asks the API: the SDK is the application's choice.
    """
    users = {
        noun(path): name
        for path in MODULES
        if ring_of(noun(path)) == "SQLAlchemy"
        for name in imported(path)
        if name.startswith("opentelemetry")
    }
    assert {"recorder"} == set(users)
    assert not users["recorder"].startswith("opentelemetry.sdk")


def test_the_framework_is_known_to_its_glue_only() -> None:
    """Of all modules, only the Flask extension imports Flask, and only the command line click."""
    users = {
        (noun(path), name)
        for path in MODULES
        for name in imported(path)
        if name in {"flask", "click", "werkzeug"}
    }
    assert users <= {("flask", "flask"), ("flask", "click"), ("cli", "click"), ("cli", "flask")}


def test_every_module_has_a_docstring_and_postponed_annotations() -> None:
    """Each file says what it is, and evaluates no annotation when it is imported."""
    bare = [
        str(path)
        for path in MODULES
        if not ast.get_docstring(tree(path)) or "__future__.annotations" not in imported(path)
    ]
    assert [] == bare
