"""`auditspan up`: service, worker and collector in the foreground."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from auditspan.cli import data_option
from auditspan.cli.commands import json_option, print_result, say_lines, stop_signal
from auditspan.trail.settings import environment
from auditspan_service.collector import CollectorPaths, find_binary
from auditspan_service.config import Settings, load_settings
from auditspan_service.server.stack import Stack


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port; 0 for any free port.",
)
@json_option
@data_option
def up(*, host: str, port: int) -> None:
    """Run the whole service, for development.

    Runs service, worker and collector in the foreground. The first start migrates the database and
    creates the keys; restarting on the same data resumes. Ctrl-C and SIGTERM shut it down
    gracefully.
    """
    settings = load_settings()
    binary = _collector(settings)
    with (
        stop_signal() as stopped,
        Stack.start(settings, host=host, port=port, binary=binary, progress=_say) as stack,
    ):
        said = _announcement(stack)
        print_result(said, _lines(said))
        stopped.wait()
        _say("stopping")


def _collector(settings: Settings) -> Path | None:
    """Return the installed collector, or `None` if there is none or the sink is not `otlp`."""
    if settings.sink != "otlp":
        return None
    binary = find_binary(CollectorPaths.from_environ(environment()))
    if binary is None:
        _say("no collector found (`make collector` builds one): auditspan writes the files itself")
    return binary


def _announcement(stack: Stack) -> dict[str, Any]:
    files = stack.settings.collector_files
    collector = stack.collector
    return {
        "url": stack.url,
        "key": stack.key,
        "database_url": stack.settings.database_url,
        "audit_files": str(files / "audit"),
        "telemetry_files": str(files / "telemetry"),
        "collector": {"version": collector.version, "pid": collector.pid} if collector else None,
    }


def _lines(said: Mapping[str, Any]) -> Iterator[str]:
    collector = said["collector"]
    running = f"{collector['version']}, process {collector['pid']}" if collector else "none"
    yield f"url        {said['url']}"
    yield f"key        {said['key'] or '(shown at the first start)'}"
    yield f"collector  {running}"
    yield f"audit      {said['audit_files']}"
    yield f"telemetry  {said['telemetry_files']}"
    if said["key"]:
        yield from ("", "The key is shown only now. Try it:", "")
        yield f"  curl -si {said['url']}/v1/users -H 'Authorization: Bearer {said['key']}' \\"
        yield "    -H 'Content-Type: application/json' -d '{\"username\":\"kim\"}'"
    yield from ("", "Press Ctrl-C to stop.")


def _say(text: str) -> None:
    say_lines(text, err=True)
