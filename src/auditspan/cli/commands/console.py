"""Command output: lines for people, JSON for programs, one sentence for each failure."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditspan.format import printable, printable_json
from auditspan.telemetry import type_name, without_values

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError

FOUND = 1
COULD_NOT = 2
_SHOWN = 20

_AS_JSON = "auditspan.as_json"
"""Key in click's `meta` of the choice of `--json`."""


def _choose_json(context: click.Context, _option: click.Parameter, value: object) -> None:
    context.meta[_AS_JSON] = value


json_option = click.option(
    "--json",
    is_flag=True,
    callback=_choose_json,
    expose_value=False,
    help="Print JSON: one object, or JSON Lines for a list.",
)


def wants_json() -> bool:
    """Return whether the running command has the option `--json`."""
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(_AS_JSON))


class Failure(click.ClickException):
    """Failure of a command (exit code 2), with a message of one sentence."""

    exit_code = COULD_NOT

    def format_message(self) -> str:
        """Return the message with untrusted text escaped."""
        return printable_lines(self.message)


def say(line: str, *, err: bool = False) -> None:
    """Print one line, with line breaks and control characters in it escaped."""
    click.echo(printable(line), err=err)


def say_lines(text: str, *, err: bool = False) -> None:
    """Print several lines, escaping each one as `say` does."""
    click.echo(printable_lines(text), err=err)


def printable_lines(text: str) -> str:
    """Return the lines of `text`, each escaped as `say` does."""
    return "\n".join(map(printable, text.split("\n")))


def print_object(value: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    click.echo(printable_json(value))


def print_result(value: Mapping[str, Any], lines: Iterable[str], *, ok: bool = True) -> None:
    """Print the result of a command: one object with `--json`, and otherwise lines for people.

    Exits with 1 if it is not `ok`.
    """
    if wants_json():
        print_object(value)
    else:
        for line in lines:
            say(line)
    if not ok:
        raise SystemExit(FOUND)


def cut(lines: Sequence[str]) -> Iterator[str]:
    """Yield the first twenty lines, and the number of the others."""
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"… and {len(lines) - _SHOWN} more"


def file_reason(error: OSError) -> str:
    """Return what failed with which file."""
    if error.filename:
        return f"{error.filename} cannot be used: {error.strerror}."
    return f"The operating system reported an error: {error.strerror or type(error).__name__}."


def internal_error(error: Exception) -> str:
    """Return the type and place of an error, without its message, which may quote values."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"Internal error ({type_name(error)}{place}): please report it. There is no result."


def database_reason(error: SQLAlchemyError) -> str:
    """Return the database's message on one line, without values and final punctuation."""
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 (slow to load)

    if isinstance(error, DBAPIError) and error.orig is not None:
        return " ".join(without_values(error.orig).split()).rstrip(".?")
    return type(error).__name__


PLACE = click.Path(path_type=Path, exists=True)
"""A file, or a directory of files."""


def places(option: str, named: tuple[Path, ...], more: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the option's paths and the arguments that the shell expanded from its pattern."""
    if more and not named:
        raise click.UsageError(f"Got unexpected extra argument ({more[0]}): see {option}.")
    return named + more
