"""The README's application, pasted into an empty file."""

from __future__ import annotations

from pathlib import Path

import pytest

from documents.conftest import Network
from documents.page import ROOT, blocks
from documents.walk import problems, walk

README = ROOT / "README.md"


def test_pasted_application_is_audited(tmp_path: Path, network: Network) -> None:
    """The one Python block is a whole program, and the commands after it record a post."""
    (python,) = (one for one in blocks(README) if one.language == "python")
    (tmp_path / "app.py").write_text(python.text, encoding="utf-8")
    (commands,) = (one for one in blocks(README) if one.first == "$ flask audit init")
    done = walk([commands], tmp_path, network.environ, network.replace)
    assert [] == problems(done)
    assert "post.create" in done[-1].output


def test_three_lines_are_the_trail() -> None:
    """As the README says."""
    (python,) = (one for one in blocks(README) if one.language == "python")
    trail = [line for line in python.text.splitlines() if "Audit" in line or "audit." in line]
    assert 3 == len(trail)


@pytest.mark.parametrize(
    ("page", "commands"),
    [(README, ["make tour", "make test"]), (ROOT / "docs/index.md", ["make tour", "make up"])],
    ids=["README", "index"],
)
def test_first_commands_are_targets_of_the_makefile(page: Path, commands: list[str]) -> None:
    """`make tour` is run by tests/e2e, `make up` by many, and `make test` runs this."""
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = [one.text for block in blocks(page) if block.is_shell for one in block.commands()]
    made = [one.partition("#")[0].strip() for one in shown if one.startswith("make ")]
    assert commands == made
    assert [] == [one for one in made if f"\n{one.split()[1]}:" not in targets]
