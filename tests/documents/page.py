"""Code blocks of a page, and the commands in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to"
SHELL = {"console", "sh", "bash"}

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"(?:[A-Z_]+=(?:'[^']*'|\"[^\"]*\"|[^\s'\"]\S*)\s*)+")


class Command(NamedTuple):
    """One command, and the output that the page shows."""

    text: str
    output: str = ""


class Block(NamedTuple):
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """Page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def first(self) -> str:
        """The first line, by which lists name the block."""
        return self.text.partition("\n")[0]

    @property
    def is_shell(self) -> bool:
        """True if it holds commands, or variables for them."""
        return self.language in SHELL

    @property
    def is_settings(self) -> bool:
        """True if it only sets variables."""
        return self.is_shell and bool(_ASSIGNMENT.fullmatch(self.text))

    @property
    def file(self) -> str | None:
        """The name of the file that the block shows: its first line is `# name`."""
        found = re.fullmatch(r"# (\w+\.(?:py|sql))", self.first)
        return found[1] if found else None

    def commands(self) -> list[Command]:
        """Return the commands; with prompts (`$ `), the lines without one are output."""
        lines = self.text.splitlines()
        if not any(line.startswith("$ ") for line in lines):
            return [Command(text) for text in _joined(lines) if text.strip()]
        found: list[Command] = []
        for line in _joined(lines):
            if line.startswith("$ "):
                found.append(Command(line.removeprefix("$ ")))
            else:
                found[-1] = Command(found[-1].text, f"{found[-1].output}{line}\n")
        return found


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in _BLOCK.finditer(text)
    ]


def _joined(lines: list[str]) -> list[str]:
    """Join the lines of a command that goes on: after a backslash, or within quotes."""
    found: list[str] = []
    is_open = False
    for line in lines:
        if is_open:
            found[-1] += f"\n{line}"
        else:
            found.append(line)
        code = re.sub(r"(^|\s)#.*", "", found[-1])
        is_open = line.endswith("\\") or code.count("'") % 2 == 1
    return found
