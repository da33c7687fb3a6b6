"""The README's application, pasted into an empty file."""

from __future__ import annotations

from pathlib import Path

from documents.conftest import Network
from documents.page import ROOT, Block, blocks
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


def test_other_commands_are_targets_of_the_makefile() -> None:
    """`make tour` and `make test` are run by other tests, or run these."""
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    shell: list[Block] = [one for one in blocks(README) if one.is_shell]
    made = [one.text for block in shell for one in block.commands() if one.text.startswith("make ")]
    assert ["make tour", "make test"] == made
    assert [] == [one for one in made if f"\n{one.split()[1]}:" not in targets]
