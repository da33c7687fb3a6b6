"""The commands on a page, parsed as the program would: the command and its options exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from auditspan.cli import COMMANDS, Commands
from auditspan_service.cli import main

_START = re.compile(r"(?<!namespace )(?<![\w/@.])(auditspan|flask audit)(?= [a-z-])")
_TRAIL = Commands("auditspan", lazy=COMMANDS, params=main.params)
_SUBSTITUTION = re.compile(r"\"?\$\([^)]*\)\"?")


def unknown(text: str) -> Iterator[str]:
    """Yield the problems of each `auditspan …` and `flask audit …` in a command.

    A command may be one of the service, or, with AUDITSPAN_APP, one of any trail.
    """
    for found in _START.finditer(text):
        arguments = _words(text[found.end() :])
        groups = [main, _TRAIL] if found[1] == "auditspan" else [_TRAIL]
        wrong = [problem for group in groups if (problem := _problem(group, arguments))]
        if len(wrong) == len(groups):
            yield f"{found[1]} {' '.join(arguments)}: {wrong[-1]}"


def _problem(group: click.Group, arguments: list[str]) -> str | None:
    try:
        _parse(group, arguments)
    except click.UsageError as error:
        return error.format_message()
    return None


def _words(text: str) -> list[str]:
    """Return the arguments up to the end of the command, a pipe, a redirection or a comment."""
    text = _SUBSTITUTION.sub("VALUE", text).replace("\\\n", " ")
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            break
        words.append(word)
    return words


def _parse(command: click.Command, arguments: list[str]) -> None:
    """Parse the arguments of a command and of those below it; values are not looked at."""
    context = click.Context(command)
    _values, rest, _order = command.make_parser(context).parse_args(list(arguments))
    if isinstance(command, click.Group):
        if found := command.get_command(context, rest[0] if rest else ""):
            return _parse(found, rest[1:])
        raise click.UsageError(f"no such command: {rest}")
    if rest:
        raise click.UsageError(f"unexpected arguments: {rest}")
    return None
