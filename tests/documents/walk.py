"""A page, done as it says: files are saved, commands are typed, and output is compared."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from documents.page import Block, Command
from documents.terminal import Done, Terminal
from support.running import AUDITSPAN, clean_environment


def walk(
    blocks: Sequence[Block],
    directory: Path,
    environ: Mapping[str, str] | None = None,
    replace: Mapping[str, str] | None = None,
) -> list[Done]:
    """Save the files of these blocks and run their commands, in order, in one shell."""
    environ = {
        **clean_environment(),
        "PATH": f"{AUDITSPAN.parent}:{os.environ['PATH']}",
        "COLUMNS": "200",
        **(environ or {}),
    }
    return Terminal(directory, environ, replace or {}).run(typed(blocks))


def typed(blocks: Sequence[Block]) -> list[Command]:
    """Return what a reader types: the commands, and files into an editor."""
    found = []
    for block in blocks:
        if block.is_shell:
            found += block.commands()
        elif block.file:
            found.append(Command(f"cat > {block.file} <<'END'\n{block.text}END"))
    return found


def is_shown(output: str, expected: str) -> bool:
    """Return True if the page shows this output; `…` stands for any text, and spaces are equal.

    `… checkpoints` may also be one checkpoint.
    """
    first, *others = (re.escape(part.strip()) for part in " ".join(expected.split()).split("…"))
    parts = (first, *(re.sub(r"^([a-z]+s)\b", r"\1?", part) for part in others))
    return re.fullmatch(r".*?".join(parts), " ".join(output.split()), re.DOTALL) is not None


def problems(done: Sequence[Done], codes: Mapping[str, int] | None = None) -> list[str]:
    """Return what differs from the page, for each command; `codes` has those other than 0."""
    found = []
    for one in done:
        code = (codes or {}).get(one.command.text, 0)
        if code != one.code or (
            one.command.output and not is_shown(one.output, one.command.output)
        ):
            found.append(f"$ {one.command.text}\n{one.output}[exit code {one.code}]")
    return found
