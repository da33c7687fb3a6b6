"""Commands on a terminal: colours, and completion by a shell."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from support.running import clean_environment

PROGRAM = """
from auditspan.cli.commands import print_rows
print_rows([{"action": "a.b", "outcome": "failure", "text": "[red]\\x1b[31m"}], as_json=False)
"""
RED = "\x1b[31mfailure"
PLAIN = "ACTION  OUTCOME  TEXT\na.b     failure  [red]\\x1b[31m"


def on_terminal(**variables: str) -> str:
    """Return what the program prints on a terminal."""
    ours, theirs = pty.openpty()
    environ = {**clean_environment(), "TERM": "xterm", **variables}
    subprocess.run([sys.executable, "-c", PROGRAM], stdout=theirs, env=environ, check=True)
    os.close(theirs)
    printed = os.read(ours, 10_000).decode()
    os.close(ours)
    return printed


def test_terminal_shows_colours() -> None:
    """A failure is red; text of the trail is neither markup nor a control sequence."""
    printed = on_terminal()
    assert RED in printed
    assert "[red]\\x1b[31m" in printed


def test_no_color_switches_colours_off() -> None:
    """NO_COLOR leaves plain text."""
    assert RED not in on_terminal(NO_COLOR="1")


def test_pipe_has_no_colours() -> None:
    """Other programs read plain columns, without trailing spaces."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert PLAIN == done.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [
        ("auditspan ev", "1", ["plain,events"]),
        ("auditspan --ap", "1", ["plain,--app"]),
        ("auditspan events --act", "2", ["plain,--actor", "plain,--action"]),
        ("auditspan --app shop:trail ba", "3", ["plain,baseline"]),
    ],
)
def test_shell_completes_commands_and_options(
    words: str, position: str, expected: list[str]
) -> None:
    """Commands are completed without importing them."""
    asked = {"_AUDITSPAN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": position}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from auditspan_service.cli import main; main(prog_name='auditspan')",
        ],
        env={**clean_environment(), **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected == done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(shell: str) -> None:
    """It names the variable that the command line reads."""
    done = subprocess.run(
        [sys.executable, "-m", "auditspan_service.cli", "completion", shell],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"_AUDITSPAN_COMPLETE={shell}_complete" in done.stdout
