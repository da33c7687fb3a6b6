"""Groups whose commands are imported when they are used, and whose failures are one sentence."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pkgutil import resolve_name
from typing import Any

import click
from click.shell_completion import CompletionItem

from auditspan.cli.options import set_target

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, as of a shell's: 128 and the number of SIGINT."""


def set_app(context: click.Context, name: str, bind: str | None) -> None:
    """Set an application, `module:attribute`, or one of its binds as the target."""
    set_target(context, partial(_named, name, bind))


def _named(name: str, bind: str | None) -> object:
    from auditspan.cli.commands.application import named_application  # noqa: PLC0415 (imported when used)

    return named_application(name, bind)


def use_umask(context: click.Context) -> None:
    """Let only their owner access the files that a command creates."""
    from auditspan.storage.files import UMASK  # noqa: PLC0415 (imported when used)

    context.call_on_close(partial(os.umask, os.umask(UMASK)))


@dataclass(frozen=True)
class Lazy:
    """Command that is imported when it is used.

    Attributes:
        place: its `module:name`.
        help: the first sentence of its help.
        extra: the extra of the distribution that it needs.
    """

    place: str
    help: str
    extra: str = "cli"

    def load(self, name: str) -> click.Command:
        """Import the command.

        Raises:
            click.ClickException: a package that it needs is not installed.
        """
        try:
            found = _imported(self.place)
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0].startswith("auditspan"):
                raise
            raise _Missing(
                f"`auditspan {name}` needs the extra '{self.extra}': "
                f"pip install 'auditspan[{self.extra}]' ({error.name} is not installed)."
            ) from error
        return found


def _imported(place: str) -> click.Command:
    """Import a command; to look for garbage among its modules would take a third of its time."""
    if place.partition(":")[0] in sys.modules:
        return _resolved(place)
    collects = gc.isenabled()
    gc.disable()
    try:
        return _resolved(place)
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _resolved(place: str) -> click.Command:
    found: click.Command = resolve_name(place)
    return found


class _Missing(click.ClickException):
    exit_code = 2


class _ClosedOutput(io.TextIOBase):
    """Standard output that was closed (`>&-`): what a command prints would be lost unnoticed."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Refuse any text."""
        if text:
            raise OSError(errno.EBADF, "Standard output is closed")
        return 0


class Commands(click.Group):
    """Group of lazy commands that reports every failure as one sentence and exit code 2.

    Args:
        lazy: the commands by name, in the order of the help.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **options: Any) -> None:
        super().__init__(*args, **options)
        self._lazy = lazy

    def available(self, context: click.Context) -> Mapping[str, Lazy]:  # noqa: ARG002 (for subclasses)
        """Return the commands of this context."""
        return self._lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the help."""
        return list(self.available(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        found = self.available(ctx).get(cmd_name)
        return found.load(cmd_name) if found else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands without importing them, and options."""
        commands = [
            CompletionItem(name, help=lazy.help)
            for name, lazy in self.available(ctx).items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        rows = [(name, lazy.help) for name, lazy in self.available(ctx).items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        if sys.stdout is None:
            sys.stdout = _ClosedOutput()
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):  # click's exit code 1 means "found something"
            click.echo("Interrupted before the result was known.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:  # exit code 1 would mean that a problem was found
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader closed the pipe: click exits quietly
            raise self.failure(error) from error

    def failure(self, error: Exception) -> click.ClickException:
        """Return the failure of a command as one sentence."""
        from auditspan.cli.commands.failures import failure  # noqa: PLC0415 (only a failure needs it)

        return failure(error)
