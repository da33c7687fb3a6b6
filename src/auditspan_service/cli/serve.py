"""`auditspan serve`: the API under gunicorn."""

from __future__ import annotations

import os
import sys
import threading

import click

from auditspan.cli import data_option
from auditspan.cli.commands import await_ready
from auditspan.storage.keys import load_or_create_erasure_keys, load_or_create_mac_key
from auditspan.trail.settings import require_first_mac_key
from auditspan_service.cli.target import ServiceTarget
from auditspan_service.server.listening import listening
from auditspan_service.telemetry.exporters import select_exporters


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="The port."
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="The number of processes.  [default: WEB_CONCURRENCY, or 1]",
)
@data_option
def serve(*, host: str, port: int, workers: int | None) -> None:
    """Serve the API.

    Run `auditspan worker` beside it to seal and relay. All other settings are AUDITSPAN_*
    variables.
    """
    target = ServiceTarget()
    settings = target.settings
    # A failure here is one sentence; in gunicorn it would be a stack trace for each worker.
    if settings.is_embedded:
        with target.opened_engine() as engine:
            require_first_mac_key(engine, target.tables, settings.mac_key_file)
    load_or_create_mac_key(settings.mac_key_file, create=settings.is_embedded)
    load_or_create_erasure_keys(settings.erasure_key_file, create=settings.is_embedded)
    select_exporters(settings.sink, files=settings.collector_files).shutdown()
    listening(host, port).close()  # gunicorn would try five times, and log each
    await_ready(target, threading.Event())
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    arguments = ["-c", "python:auditspan_service.server.gunicorn_conf", "--bind", bind]
    if workers is not None:
        arguments += ["--workers", str(workers)]
    # Replace this process, so that signals reach gunicorn itself.
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments])  # noqa: S606
