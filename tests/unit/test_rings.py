"""The floors of the library: imports go down only, and a folder shows what others may use."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
#: From the ground up: folders, folders in them that have a floor of their own, and the few modules
#: beside them. Each imports from floors below it, and from its own where that closes no circle.
FLOORS = (
    {"errors", "telemetry.scope"},
    {"format", "tlog"},
    {"context", "storage.dialects", "storage.files"},
    {"storage", "telemetry", "telemetry.otlp", "mapping", "storage.keys"},
    {"capture", "storage.locks", "trail.sessions"},
    {
        "seal.guards",
        "seal",
        "delivery",
        "reading",
        "reading.replay",
        "trail.ingest",
        "trail.erasure",
    },
    {"verify.backends"},
    {"verify", "delivery.worker", "reading.states"},
    {"trail.retention"},
    {"trail.settings"},
    {"cli.doctor"},
    {
        "__init__",
        "trail",
        "flask",
        "viewer",
        "alembic",
        "testing",
        "cli",
    },
)
#: What a folder may import besides the standard library and SQLAlchemy.
FOREIGN = {
    "errors": set(),
    "telemetry.scope": set(),
    "format": {"cryptography"},  # AES, likewise
    "tlog": {"cryptography"},  # Ed25519, which the standard library lacks
    "storage.keys": set(),
    "trail.settings": {"pydantic", "pydantic_settings", "sqlalchemy"},
    "cli.doctor": {"confluent_kafka", "sqlalchemy", "yaml"},
    "cli": {"click", "rich", "sqlalchemy"},
    "storage.dialects": {"sqlalchemy"},
    "storage": {"sqlalchemy"},
    "storage.locks": {"sqlalchemy"},
    "mapping": {"sqlalchemy"},
    "telemetry": {"opentelemetry", "sqlalchemy"},
    "telemetry.otlp": {"opentelemetry", "google"},
    "capture": {"sqlalchemy", "opentelemetry"},
    "seal.guards": {"sqlalchemy"},
    "reading": {"sqlalchemy"},
    "trail.ingest": {"sqlalchemy"},
    "trail.sessions": {"sqlalchemy"},
    "trail.erasure": {"sqlalchemy"},
    "seal": {"sqlalchemy", "opentelemetry"},
    "delivery": {"confluent_kafka", "sqlalchemy", "opentelemetry", "urllib3", "google"},
    "verify.backends": {"confluent_kafka", "sqlalchemy", "urllib3"},
    "verify": {"sqlalchemy", "opentelemetry"},
    "reading.replay": {"sqlalchemy"},
    "reading.states": {"sqlalchemy"},
    "trail.retention": {"sqlalchemy"},
    "trail": {"sqlalchemy", "opentelemetry"},
    "delivery.worker": {"sqlalchemy", "opentelemetry"},
    "flask": {"flask", "flask_login", "click"},
    "viewer": {"flask", "jinja2", "sqlalchemy", "werkzeug"},
    "alembic": {"sqlalchemy", "alembic"},
    "context": {"celery", "dramatiq", "opentelemetry", "rq"},
    "testing": {"sqlalchemy", "opentelemetry", "pytest", "urllib3", "google"},
}
#: What a generated migration imports, and what applications use that no page shows.
ALSO_PUBLIC = {
    "auditspan.alembic": {
        *("TransactionId", "TupleId", "UtcDateTime"),
        *("create_erasure", "create_search_terms", "drop_erasure", "drop_search_terms"),
    },
    "auditspan.testing": {
        "CapturedEvents",
        "Event",
        "SteppingClock",
        "captured_async",
        "telemetry_errors_raised",
    },
    "auditspan.verify": {"Difference", "StateReport"},
    "auditspan.verify.state": {"Kind"},
    "auditspan.viewer": {"Viewer"},
}
IMPORTERS = {"import_module", "resolve_name"}
BY_NAME = {
    "auditspan/__init__.py": {"resolve_name"},
    "auditspan/cli/group.py": {"resolve_name"},
    "auditspan/cli/commands/__init__.py": {"resolve_name"},
    "auditspan/cli/commands/named.py": {"import_module"},
    "auditspan/verify/__init__.py": {"resolve_name"},
}
PURE = FLOORS[1]
#: The record and its proofs know no clock, no randomness and no I/O.
IMPURE_MODULES = {"os", "io", "sys", "time", "random", "secrets", "socket", "pathlib", "threading"}
IMPURE_MODULES |= {"subprocess", "tempfile", "logging", "shutil", "urllib", "http", "asyncio"}
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input", "uuid1", "uuid4", "uuid7"}
MODULES = {
    str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8")
    for package in ("auditspan", "auditspan_service")
    for path in sorted((SOURCE / package).rglob("*.py"))
}
LIBRARY = [path for path in MODULES if path.startswith("auditspan/")]


@dataclass(frozen=True)
class Import:
    """One name that one file imports from the library."""

    path: str
    module: str
    name: str

    @property
    def source(self) -> str:
        """The folder that imports; the service is one."""
        return folder(self.path.removesuffix(".py").replace("/", "."))

    @property
    def target(self) -> str:
        """The folder that is imported from."""
        is_whole = self.module == "auditspan"
        return folder(f"{self.module}.{self.name}" if is_whole else self.module)


def folder(module: str) -> str:
    """The innermost folder of a dotted name that has a floor, or the module beside the folders."""
    package, _, name = module.partition(".")
    if package != "auditspan":
        return package
    while name and not any(name in floor for floor in FLOORS):
        name = name.rpartition(".")[0]
    return name or "__init__"


parsed = cache(ast.parse)


@cache
def imported_names() -> dict[str, set[str]]:
    """The names that other folders, the service and documents import from each module."""
    found: dict[str, set[str]] = {}
    for one in crossing(MODULES):
        found.setdefault(one.module, set()).add(one.name)
    for page in (*ROOT.glob("docs/**/*.md"), ROOT / "README.md"):
        for line in re.finditer(r"^from (\S+) import (.+)$", page.read_text(), re.MULTILINE):
            names = line[2].partition("#")[0].split(",")
            found.setdefault(line[1], set()).update(name.strip() for name in names)
    return found


def imports(modules: Mapping[str, str]) -> Iterator[Import]:
    """Every name of the library that these files import, also in functions."""
    for path, source in modules.items():
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.partition(".")[0] == "auditspan":
                        yield Import(path, alias.name, "")
            elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "auditspan":
                yield from (Import(path, str(node.module), alias.name) for alias in node.names)


def crossing(modules: Mapping[str, str]) -> list[Import]:
    """Imports that lead from one folder into another."""
    return [one for one in imports(modules) if one.source != one.target]


def upward(modules: Mapping[str, str]) -> set[Import]:
    """Imports of a floor above."""
    height = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    height["auditspan_service"] = len(FLOORS)
    return {one for one in crossing(modules) if height[one.target] > height[one.source]}


def circles(modules: Mapping[str, str]) -> set[str]:
    """Folders from which imports lead back to themselves."""
    return returning((one.source, one.target) for one in crossing(modules))


def circles_of_files(modules: Mapping[str, str]) -> set[str]:
    """Files from which imports lead back to themselves, in functions, too."""
    names = {path: path.removesuffix(".py").removesuffix("/__init__") for path in modules}
    files = {name.replace("/", "."): path for path, name in names.items()}
    steps = (
        (path, files.get(f"{node.module}.{alias.name}", files.get(str(node.module), path)))
        for path, source in modules.items()
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )
    return returning((source, target) for source, target in steps if source != target)


def returning(arrows: Iterable[tuple[str, str]]) -> set[str]:
    """The nodes from which arrows lead back to themselves."""
    steps: dict[str, set[str]] = {}
    for source, target in arrows:
        steps.setdefault(source, set()).add(target)

    def reached(start: str, seen: set[str]) -> set[str]:
        for step in steps.get(start, set()) - seen:
            seen.add(step)
            reached(step, seen)
        return seen

    return {name for name in steps if name in reached(name, set())}


def private(modules: Mapping[str, str]) -> set[Import]:
    """Imports past what the `__init__` of a folder exports."""
    faces = {path.removesuffix("/__init__.py").replace("/", "."): path for path in MODULES}
    exported = {
        face: set(_all_of(MODULES[path])) for face, path in faces.items() if "__init__" in path
    }
    beside = {f"auditspan.{name}" for floor in FLOORS for name in floor}
    return {
        one
        for one in crossing(modules)
        if one.name.startswith("_")
        or not (
            one.name in exported.get(one.module, set())
            or (one.module not in exported and one.module in beside)
            or (one.name == "" and one.module in exported)
        )
    }


def _all_of(source: str) -> Iterator[str]:
    for node in parsed(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            yield from ast.literal_eval(node.value)


def test_imports_go_down_only() -> None:
    """No folder knows one that stands above it."""
    assert set() == upward(MODULES)


def test_no_folders_import_each_other() -> None:
    """Not even on the same floor, and not by way of a third."""
    assert set() == circles(MODULES)


def test_no_files_import_each_other() -> None:
    """Neither in the library nor in the service, not even when they are used."""
    assert set() == circles_of_files(MODULES)


def test_a_folder_is_entered_through_its_face() -> None:
    """Other folders, and the service, import what `__init__` exports, and nothing else."""
    assert set() == private(MODULES)


def test_every_folder_has_a_floor() -> None:
    """A folder that is added here without a place fails."""
    names = {Path(path).parts[1].removesuffix(".py") for path in LIBRARY}
    floors = set().union(*FLOORS)
    assert names == {name for name in floors if "." not in name}
    assert floors == {folder(path.removesuffix(".py").replace("/", ".")) for path in LIBRARY}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("auditspan/format/planted.py", "from auditspan.storage import STAGING"),
        ("auditspan/mapping/planted.py", "def f():\n    from auditspan.capture import busy"),
        ("auditspan/verify/planted.py", "from auditspan import AuditTrail"),
    ],
)
def test_an_import_upwards_is_found(path: str, source: str) -> None:
    """Also one within a function, and one of the package itself."""
    assert {path} == {one.path for one in upward({**MODULES, path: source})}


def test_a_circle_is_found() -> None:
    """Here between two folders of one floor."""
    planted = {
        "auditspan/telemetry/otlp/planted.py": "from auditspan.telemetry import semconv",
        "auditspan/telemetry/planted.py": "from auditspan.telemetry.otlp import Damage",
    }
    assert {"telemetry.otlp", "telemetry"} == circles({**MODULES, **planted})


def test_a_circle_of_files_is_found() -> None:
    """Here by way of a third."""
    planted = {
        "auditspan_service/one.py": "from auditspan_service import two",
        "auditspan_service/two.py": "def f():\n    from auditspan_service.three import g",
        "auditspan_service/three.py": "from auditspan_service.one import h",
    }
    assert set(planted) == circles_of_files({**MODULES, **planted})


@pytest.mark.parametrize(
    "source",
    [
        "from auditspan.seal.sealer import Sealer",
        "from auditspan.seal.sealer import _logger",
        "from auditspan.trail import _as_target",
        "from auditspan.seal import TreeBuilder",
        "import auditspan.seal.sealer",
    ],
)
@pytest.mark.parametrize("path", ["auditspan/verify/planted.py", "auditspan_service/planted.py"])
def test_an_import_past_the_face_is_found(path: str, source: str) -> None:
    """Of a module inside, of a private name, and of a name that is not exported."""
    assert {path} == {one.path for one in private({path: source})}


FACES = [path for path in LIBRARY if path.endswith("/__init__.py") and path.count("/") > 1]


def test_face_exports_exactly_the_used_names() -> None:
    """No name is public by accident: another folder, the service or a document imports each."""
    found = {}
    for path in FACES:
        face = path.removesuffix("/__init__.py").replace("/", ".")
        unused = set(_all_of(MODULES[path])) - imported_names().get(face, set())
        found[face] = unused - ALSO_PUBLIC.get(face, set())
    assert {} == kept(found)


def test_a_folder_imports_only_the_packages_it_is_made_for() -> None:
    """The ground floors import the standard library only; no module imports the service."""
    everywhere = {*sys.stdlib_module_names, "auditspan"}
    found = {
        path: packages(MODULES[path]) - everywhere - FOREIGN.get(Import(path, "", "").source, set())
        for path in LIBRARY
    }
    assert {} == kept(found)


def test_no_import_is_hidden_from_this_test() -> None:
    """Only public names, commands and the application that a user names are imported by name."""
    hiding = {*IMPORTERS, "__import__", "exec", "eval"}
    found = {path: called(MODULES[path]) & hiding for path in LIBRARY}
    assert {path: BY_NAME.get(path, set()) for path in LIBRARY} == found


def test_the_record_and_its_proofs_have_no_clock_no_randomness_and_no_io() -> None:
    """The same arguments give the same result, always and everywhere."""
    pure = [path for path in LIBRARY if path.split("/")[1] in PURE]
    assert {} == kept({path: called(MODULES[path]) & IMPURE_CALLS for path in pure})
    assert {} == kept({path: packages(MODULES[path]) & IMPURE_MODULES for path in pure})


def test_only_the_signed_note_and_the_erasure_key_know_cryptography() -> None:
    """Ed25519 and AES are what the ground floors need and the standard library lacks."""
    users = {path for path in LIBRARY if "cryptography" in packages(MODULES[path])}
    assert {"auditspan/format/erasure_key.py", "auditspan/tlog/note.py"} == users


def test_only_the_recorder_knows_telemetry_in_capture() -> None:
    """Capture announces through a function that it is given; only the recorder asks for the span.

    And it asks the API: the SDK is the application's choice.
    """
    users = {
        path
        for path in LIBRARY
        if path.startswith("auditspan/capture/") and "opentelemetry" in packages(MODULES[path])
    }
    assert {"auditspan/capture/recorder.py"} == users
    assert "opentelemetry.sdk" not in MODULES["auditspan/capture/recorder.py"]


def test_the_framework_is_known_to_its_glue_only() -> None:
    """Of all modules, only the extension and the viewer import Flask; it and `cli` click."""
    users = {
        Import(path, "", "").source
        for path in LIBRARY
        if packages(MODULES[path]) & {"flask", "werkzeug", "jinja2"}
    }
    assert {"flask", "viewer"} == users
    users = {Import(path, "", "").source for path in LIBRARY if "click" in packages(MODULES[path])}
    assert {"cli", "flask"} == users


def test_every_module_has_a_docstring_and_postponed_annotations() -> None:
    """Each file says what it is, and evaluates no annotation when it is imported."""
    trees = {path: parsed(MODULES[path]) for path in LIBRARY}
    assert [] == [path for path, tree in trees.items() if not ast.get_docstring(tree)]
    code = [path for path, tree in trees.items() if len(tree.body) > 1]
    assert [] == [path for path in code if "__future__" not in packages(MODULES[path])]


def kept(found: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The entries that are not empty."""
    return {path: names for path, names in found.items() if names}


def packages(source: str) -> set[str]:
    """The top-level packages that a file imports, also in functions and under TYPE_CHECKING."""
    found = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found.add(str(node.module).partition(".")[0])
    return found


def called(source: str) -> set[str]:
    """The names that a file calls, of functions and of methods."""
    return {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.Call)
    }
