"""`auditspan trace`: the telemetry of one trace, read from the collector's files."""

from __future__ import annotations

import re
from pathlib import Path

import click

from auditspan.cli.commands.console import (
    FOUND,
    json_option,
    print_object,
    say,
    say_lines,
)
from auditspan.cli.commands.target import Target, pass_target
from auditspan.cli.group import data_option
from auditspan.otlp import TraceFiles, render_trace, trace_as_dict

_TRACE_ID = re.compile(r"[0-9a-f]{32}")


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
@json_option
@data_option
@pass_target
def trace(target: Target, trace_id: str, *, files: Path | None, as_json: bool) -> None:
    """Show the telemetry of one trace as a tree.

    The tree has the spans, span events and log records of the trace.
    """
    place = files or target.settings.collector_files
    tree = TraceFiles(place).trace(trace_id)
    if as_json:
        print_object(trace_as_dict(tree))
    elif not tree.empty:
        say_lines(render_trace(tree))
    if tree.empty:
        say(f"Trace {trace_id} was not found in the files under {place}.", err=True)
        raise SystemExit(FOUND)
