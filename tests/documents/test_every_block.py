"""Every block of every how-to page is run, or listed with the reason."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from auditspan_service.config import load_settings
from documents.lists import ELSEWHERE, INSTALLS, NOT_RUN, reason_not_to_run
from documents.options import unknown
from documents.page import HOW_TO, ROOT, Block, blocks
from documents.runs import RUN

PAGES = sorted(HOW_TO.glob("*.md"))
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
OURS = {"auditspan", "auditspan_service"}
DATA = {"json", "yaml", "text"}
SETTINGS = [one for page in PAGES for one in blocks(page) if one.is_settings]


def reasons(block: Block) -> list[str]:
    """Return why a block needs no further test: exactly one reason is right."""
    page = block.page.name
    found = [RUN[page]] if page in RUN else []
    if page in ELSEWHERE:
        found.append(ELSEWHERE[page])
    if block.language in DATA or block.is_settings or block.first.startswith(INSTALLS):
        return ["data, settings or an installation"]
    return [reason] if (reason := reason_not_to_run(block)) else found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_run_or_listed(page: Path) -> None:
    """A page that nobody runs fails, and so does a new block on one that is listed by block."""
    assert [] == [one.name for one in blocks(page) if len(reasons(one)) != 1]


def test_lists_have_no_other_blocks() -> None:
    """What was changed or removed on a page is removed from the lists."""
    first = {page.name: [one.first for one in blocks(page)] for page in PAGES}
    assert [] == [
        (page, start)
        for page, starts in NOT_RUN.items()
        for start in starts
        if not any(line.startswith(start) for line in first[page])
    ]
    assert {*RUN, *ELSEWHERE} <= set(first)


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_other_tests_read_the_pages(test: str) -> None:
    """The named test names each of its pages."""
    text = (ROOT / "tests" / test).read_text(encoding="utf-8")
    assert [] == [page for page, of in ELSEWHERE.items() if of == test and page not in text]


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    """Each `auditspan` and `flask audit` command is parsed as the program would."""
    commands = [one for block in blocks(page) if block.is_shell for one in block.commands()]
    assert [] == [problem for one in commands for problem in unknown(one.text)]


@pytest.mark.parametrize(
    "wrong",
    [
        "auditspan verify --nope",
        "docker compose exec service auditspan tours",
        "flask audit up",
        "x=$(auditspan checkpoint --pubic-key)",
        "auditspan events | auditspan lists",
    ],
)
def test_unknown_commands_and_options_are_found(wrong: str) -> None:
    """Wherever they are in the line."""
    assert list(unknown(wrong))


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_imports_exist(page: Path) -> None:
    """Each Python block compiles, and what it imports from auditspan can be imported."""
    for block in blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in OURS:
                module = importlib.import_module(str(node.module))
                assert [] == [one.name for one in node.names if not hasattr(module, one.name)]


@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: block.name)
def test_settings_are_accepted(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable is one that the reference documents, and its value is valid."""
    pages = ("settings.md", "otel-variables.md")
    known = " ".join((ROOT / "docs" / "reference" / page).read_text() for page in pages)
    known = known.replace("OTEL_…_", "OTEL_EXPORTER_OTLP_")
    for name, value in re.findall(r"^([A-Z_]+)=(?:'([^']*)'|\S+)", block.text, re.MULTILINE):
        assert name in known
        if value:
            monkeypatch.setenv(name, value)
    load_settings()
