"""`auditspan trace`: the telemetry of one trace, read from the collector's files."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Never

import click

from auditspan.cli.commands.console import (
    FOUND,
    json_option,
    print_object,
    printable_lines,
    say,
    say_lines,
    wants_json,
)
from auditspan.cli.commands.trace_links import TraceUrl, trace_urls, with_trace_url
from auditspan.cli.options import TARGET, data_option
from auditspan.telemetry.otlp import Trace, TraceFiles, render_trace, trace_as_dict

if TYPE_CHECKING:
    from auditspan.cli.commands.target import Target

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_WATCH_SECONDS = 0.5


def as_trace_id(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Return the trace id in lower case, or reject an invalid one as a usage error."""
    if value is not None and not _TRACE_ID.fullmatch(value.lower()):
        raise click.BadParameter("invalid trace id: expected 32 hexadecimal digits.")
    return value and value.lower()


@click.command()
@click.argument("trace_id", callback=as_trace_id)
@click.option(
    "--files",
    type=click.Path(path_type=Path, exists=True),
    help="The directory of the collector's files.  [default: AUDITSPAN_COLLECTOR_FILES]",
)
@click.option(
    "--watch", is_flag=True, help="Show the tree again whenever the trace grows, until Ctrl-C."
)
@json_option
@data_option
def trace(trace_id: str, *, files: Path | None, watch: bool) -> None:
    """Show the telemetry of one trace as a tree.

    The tree has the spans, span events and log records of the trace. In a large directory the first
    search is followed by making an index, which the next ones use.
    """
    found, url_of = _place(files)
    if watch:
        with suppress(KeyboardInterrupt):  # the usual way to stop
            _watch(found, trace_id, url_of)
        return
    tree = found.trace(trace_id)
    if wants_json() or not tree.empty:
        _print(tree, url_of)
    if tree.empty:
        say(f"Trace {trace_id} was not found in the files under {found.path}.", err=True)
    with suppress(KeyboardInterrupt):  # the answer is printed; the index is for the next one
        found.wait()
    if tree.empty:
        raise SystemExit(FOUND)


def _target() -> Target:
    """Return the target of the commands, which is slow to import."""
    found: Target = click.get_current_context().meta[TARGET]()
    return found


def _place(files: Path | None) -> tuple[TraceFiles, TraceUrl]:
    """Return the files to search, and the links of the settings, which are read only if needed."""
    if files and not os.environ.get("AUDITSPAN_TRACE_URL"):
        return TraceFiles(files), trace_urls(None)
    settings = _target().settings
    return TraceFiles(files or settings.collector_files), trace_urls(settings.trace_url)


def _print(tree: Trace, url_of: TraceUrl) -> None:
    if wants_json():
        print_object(with_trace_url(trace_as_dict(tree), url_of))
    else:
        say_lines(_rendered(tree, url_of))


def _rendered(tree: Trace, url_of: TraceUrl) -> str:
    """Return the tree, and below it the page of the trace in the backend."""
    return "\n".join(filter(None, (render_trace(tree), url_of(tree.trace_id))))


def _watch(files: TraceFiles, trace_id: str, url_of: TraceUrl) -> Never:
    """Show each state of the trace once; a terminal shows only the last one."""
    shown = files.trace(trace_id)
    if shown.empty:
        say(f"Waiting for trace {trace_id}.", err=True)
    with _screen(url_of) as show:
        if not shown.empty:
            show(shown)
        while True:
            time.sleep(_WATCH_SECONDS)
            tree = files.trace(trace_id)
            if (tree.spans, tree.logs) != (shown.spans, shown.logs):
                show(tree)
                shown = tree


@contextmanager
def _screen(url_of: TraceUrl) -> Iterator[Callable[[Trace], None]]:
    """Return a function that draws over what it drew before; piped, it prints below it."""
    if wants_json() or not sys.stdout.isatty():
        yield lambda tree: _print(tree, url_of)
        return
    from rich.live import Live
    from rich.text import Text  # noqa: PLC0415

    with Live(auto_refresh=False, vertical_overflow="visible") as live:
        yield lambda tree: live.update(Text(printable_lines(_rendered(tree, url_of))), refresh=True)
