"""Progress of long commands, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def progress_bar(unit: str = "rows") -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar, by default of rows, if standard error is a terminal.

    Yields:
        A function that takes the number of units since its last call, and the number of all.
    """
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=0, label=unit, file=sys.stderr, show_pos=True) as bar:

        def advance(step: int, total: int) -> None:
            bar.length = total
            bar.update(step)

        yield advance
