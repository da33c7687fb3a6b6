"""The public names: exactly the intended ones, and an explanation for every error."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import auditspan
from auditspan import errors
from auditspan.cli import commands
from auditspan.errors import AuditError, SinkUnavailableError

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "errors"
INTENDED = {
    "Actor",
    "AsyncTrail",
    "AuditTrail",
    "CarriedContext",
    "Digest",
    "Erased",
    "Erasure",
    "ErasureKey",
    "Event",
    "Exempt",
    "ForeignEvent",
    "History",
    "MacKey",
    "Policy",
    "Privacy",
    "Redacted",
    "Request",
    "Service",
    "State",
    "Target",
    "audit_context",
    "carry_context",
}
CODES = {
    "AuditError": "audit",
    "AuditBodyError": "body",
    "AuditConfigError": "config",
    "AuditWriteError": "write",
    "CollectorFilesError": "collector-files",
    "EventConflictError": "event-conflict",
    "IngestError": "ingest",
    "KeyFileError": "key-file",
    "LogBackendError": "log-backend",
    "MissingActorError": "missing-actor",
    "NotSealedError": "not-sealed",
    "PurgedError": "purged",
    "RetentionError": "retention",
    "RevertError": "revert",
    "SettingsError": "settings",
    "SinkError": "sink",
    "SinkRejectedError": "sink-rejected",
    "SinkUnavailableError": "sink-unavailable",
    "UnauditedWriteError": "unaudited-write",
    "UnprotectedTrailError": "unprotected-trail",
}


def descendants(base: type[AuditError]) -> set[type[AuditError]]:
    """A class and everything below it, of the package itself."""
    below = {one for child in base.__subclasses__() for one in descendants(child)}
    return {one for one in {base} | below if one.__module__.split(".")[0] == "auditspan"}


ERRORS = sorted(descendants(AuditError), key=lambda one: one.__name__)
EACH = pytest.mark.parametrize("error", ERRORS, ids=lambda one: one.__name__)


def page(error: type[AuditError]) -> str:
    """The page that explains an error."""
    return (PAGES / f"{error.code}.md").read_text(encoding="utf-8")


def test_the_public_names_are_exactly_the_intended_ones() -> None:
    """Nothing is public by accident, and nothing that is promised is missing."""
    assert sorted(INTENDED | set(CODES)) == sorted(auditspan.__all__)
    assert sorted(auditspan.__all__) == list(auditspan.__all__)


@pytest.mark.parametrize("name", sorted(INTENDED | set(CODES)))
def test_public_name_exists_and_has_a_docstring(name: str) -> None:
    """Every public name can be imported and has a docstring of its own, a sentence at least."""
    found = getattr(auditspan, name)
    assert str(found.__doc__).partition("\n\n")[0].rstrip().endswith(".")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("auditspan.flask", "AuditExtension"),
        ("auditspan.telemetry", "TraceBoundary"),
    ],
)
def test_the_glue_is_where_the_documents_say(module: str, name: str) -> None:
    """Names outside the package's top level are importable under the promised module."""
    assert inspect.isclass(getattr(importlib.import_module(module), name))


def test_the_package_is_typed() -> None:
    """Type checkers of users read our annotations (PEP 561)."""
    assert (Path(auditspan.__file__).parent / "py.typed").exists()


def test_every_error_has_a_code_of_its_own() -> None:
    """The codes are these; people search for them, so they do not change."""
    assert CODES == {one.__name__: one.code for one in ERRORS}
    assert len(ERRORS) == len({one.code for one in ERRORS})


@EACH
def test_an_error_is_drawn_in_the_tree(error: type[AuditError]) -> None:
    """The module's docstring shows the whole family."""
    assert re.search(rf"^[ │├└─]*{error.__name__}\b", str(errors.__doc__), re.MULTILINE)


@EACH
def test_error_without_a_message_has_the_default(error: type[AuditError]) -> None:
    """A bare raise gives the first line of the class, a message is kept, both name the page."""
    assert str(error()).startswith(str(inspect.getdoc(error)).partition("\n")[0])
    assert str(error("do this")).startswith("do this")
    assert f"docs/errors/{error.code}.md" in str(error("do this"))


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("invalid action 'x'", "Invalid action 'x'."),
        ("event_id repeats that of the event at index 0", None),
        (
            "The key file cannot be used: no such file.",
            "The key file cannot be used: no such file.",
        ),
        ("is it running?", "Is it running?"),
    ],
)
def test_message_of_an_error_is_also_a_sentence(message: str, sentence: str | None) -> None:
    """It begins with a capital, unless with a name, and has one mark at its end."""
    assert (sentence or f"{message}.") == AuditError(message).sentence


def test_unavailable_sink_has_retry_after() -> None:
    """The seconds that a sink asked for travel with its error."""
    assert SinkUnavailableError("busy", retry_after=1.5).retry_after == 1.5
    assert SinkUnavailableError("busy").retry_after is None


@EACH
def test_an_error_has_a_page(error: type[AuditError]) -> None:
    """The page says what happened, why it is refused and what to do, with an example, briefly."""
    lines = page(error).splitlines()
    headings = [line for line in lines if line.startswith("#")]
    assert [
        f"# `{error.__name__}` ({error.code})",
        "## What happened",
        "## Why auditspan refuses",
        "## What to do",
        "## Example",
    ] == headings
    assert 15 <= len(lines) <= 40
    assert "```" in page(error)


def test_every_page_explains_an_error() -> None:
    """No page is left behind by an error that is gone."""
    pages = {f"{one.code}.md" for one in ERRORS}
    assert {*pages, "README.md"} == {path.name for path in PAGES.glob("*")}
    listed = re.findall(r"^- .*\((.+)\)$", (PAGES / "README.md").read_text(), re.MULTILINE)
    assert pages == set(listed)


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.stem)
def test_the_python_on_a_page_compiles_and_names_what_exists(path: Path) -> None:
    """Examples are Python that compiles, and every name of auditspan in them is public."""
    text = path.read_text(encoding="utf-8")
    for source in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(source, str(path), "exec")
        for names in re.findall(r"^from auditspan import (.+)$", source, re.MULTILINE):
            assert set(names.split(", ")) <= set(auditspan.__all__)
    linked = re.findall(r"\]\(([a-z-]+\.md)\)", text)
    assert [] == [name for name in linked if not (PAGES / name).exists()]


def test_the_library_does_without_asyncio() -> None:
    """It is imported where SQLAlchemy 2.1 refuses its asyncio part for lack of greenlet."""
    program = (
        "import sys; sys.modules['sqlalchemy.ext.asyncio'] = None\n"
        "import auditspan.flask, auditspan.testing, auditspan.delivery.worker\n"
        "from sqlalchemy import MetaData\n"
        "from sqlalchemy.orm import scoped_session, sessionmaker\n"
        "auditspan.AuditTrail(scoped_session(sessionmaker()), metadata=MetaData(), mac_key=None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_every_name_that_the_commands_share_is_an_attribute() -> None:
    """Those that are imported on first use, too."""
    assert all(getattr(commands, name) is not None for name in commands.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Taret'"):
        getattr(commands, "Taret")  # noqa: B009 (the type checker refuses it too)
