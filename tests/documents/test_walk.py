"""The mechanism that runs pages: what it types, and what it reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from documents.page import ROOT, Block
from documents.walk import is_shown, problems, typed, walk


def block(text: str, language: str = "console") -> Block:
    return Block(ROOT / "page.md", 1, language, text)


def test_failures_and_other_output_are_reported(tmp_path: Path) -> None:
    """A command that fails, and one that prints something else; the others run all the same."""
    page = [block("$ echo one\none\n$ false\n$ echo two\nthree\n$ (exit 3)\n")]
    done = walk(page, tmp_path)
    assert [0, 1, 0, 3] == [one.code for one in done]
    assert ["$ false", "$ echo two"] == [
        one.partition("\n")[0] for one in problems(done, {"(exit 3)": 3})
    ]


def test_commands_share_a_shell_and_saved_files(tmp_path: Path) -> None:
    """Directories and variables last, and a block that names a file is saved."""
    page = [
        block("$ mkdir below && cd below\n$ export WHO=kim\n"),
        block("# hello.py\nimport os\n\nprint(os.environ['WHO'])\n", "python"),
        block("$ python hello.py\nkim\n"),
    ]
    assert [] == problems(walk(page, tmp_path))
    assert (tmp_path / "below" / "hello.py").exists()


def test_server_runs_beside_the_next_command(tmp_path: Path) -> None:
    """A program that serves does not hold up the page, and one that fails is reported."""
    page = [block("$ flask --app nowhere run\n$ echo after\nafter\n")]
    done = walk(page, tmp_path, {"FLASK_RUN_PORT": "0"})
    assert (1, 0) == (done[0].code, done[1].code)
    assert "nowhere" in done[0].output


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("one --a \\\n  --b\ntwo # it's\nthree\n", ["one --a \\\n  --b", "two # it's", "three"]),
        ("$ one 'a\nb'\nshown\n$ two\n", ["one 'a\nb'", "two"]),
    ],
)
def test_commands_of_a_block(text: str, commands: list[str]) -> None:
    """Backslashes, quotes and comments end where bash says."""
    assert commands == [one.text for one in typed([block(text)])]


@pytest.mark.parametrize(
    ("output", "expected", "shown"),
    [
        ("a 1 b\n", "a … b", True),
        ("a   b\n", "a b\n", True),
        ("a b c\n", "a b\n", False),
        ("a\n", "b\n", False),
        ("noise\na\n", "…\na\n", True),
        ("1 row found\n", "… rows found\n", True),
        ("1 row found\n", "2 rows found\n", False),
    ],
)
def test_output_is_compared(output: str, expected: str, shown: bool) -> None:  # noqa: FBT001
    """An ellipsis stands for any text; spaces are equal; all else is literal."""
    assert shown is is_shown(output, expected)
