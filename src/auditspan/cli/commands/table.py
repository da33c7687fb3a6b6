"""Rows as JSON for programs, or as a table for people; in colour on a terminal without NO_COLOR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import click
from rich.cells import cell_len
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from auditspan.cli.commands.console import print_object, wants_json
from auditspan.format import printable, printable_json

Row: TypeAlias = Mapping[str, Any]

_UNLIMITED = 100_000
"""The width of a line: ids that are cut off or folded could not be copied."""

_STYLES = {"failure": "red", "unreadable": "bold red", "unknown": "yellow"}


class Link(NamedTuple):
    """Text that a terminal links to a URL; without a terminal, only the text is printed."""

    text: str
    url: str

    def __str__(self) -> str:
        return self.text


class Table:
    """Table that is printed in parts: one header, and columns that never get narrower.

    Args:
        forms: the forms of a row, from the widest to one that fits into every terminal.
    """

    def __init__(self, *forms: Callable[[Row], Row]) -> None:
        self._widths: list[int] = []
        self._forms = [*forms] or [dict]

    def print(self, rows: Sequence[Row]) -> None:
        """Print the next lines, preceded by the header on the first call."""
        names, cells = _cells([*map(self._forms[0], rows)])
        while len(self._forms) > 1 and _exceeds_terminal(_lengths(names, cells)):
            del self._forms[0]
            names, cells = _cells([*map(self._forms[0], rows)])
        grid = RichTable(
            box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=not self._widths
        )
        lengths = _lengths(names, cells)
        self._widths = [max(pair) for pair in zip(lengths, self._widths or lengths, strict=True)]
        for name, width in zip(names, self._widths, strict=True):
            grid.add_column(name, min_width=width, no_wrap=True)
        for line in cells:
            grid.add_row(*line)
        _print(grid)


def _cells(rows: Sequence[Row]) -> tuple[list[str], list[list[Text]]]:
    """Return the names of the columns, and the cells of each line."""
    cells = [[_text(value) for value in row.values()] for row in rows]
    return [name.upper().replace("_", " ") for name in rows[0]], cells


def _lengths(names: list[str], cells: list[list[Text]]) -> list[int]:
    columns = zip(names, *cells, strict=True)
    return [max(cell_len(name), *(cell.cell_len for cell in column)) for name, *column in columns]


def _exceeds_terminal(lengths: list[int]) -> bool:
    """Return True if lines of these columns would be folded."""
    console = Console()
    return console.is_terminal and sum(lengths) + 2 * (len(lengths) - 1) > console.width


def print_rows(rows: Sequence[Row], table: Table | None = None) -> None:
    """Print rows as JSON Lines, or as a table with the members of the first row as columns.

    Pass the same `table` again to continue it with further rows.
    """
    if wants_json():
        for row in rows:
            print_object(row)
    elif rows:
        (table or Table()).print(rows)


def print_document(value: Mapping[str, Any]) -> None:
    """Print one JSON object on several lines."""
    _print(JSONHighlighter()(Text(printable_json(value, indent=2))))


def _print(what: RichTable | Text) -> None:
    """Print without trailing spaces; text is never read as markup."""
    console = Console(width=_UNLIMITED, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _text(value: object) -> Text:
    cell = _cell(value)
    style = (
        Style(link=value.url) if isinstance(value, Link) else _STYLES.get(cell.split(" ")[0], "")
    )
    return Text(cell, style=style)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(" ".join(map(str, value)) if isinstance(value, list) else str(value))
