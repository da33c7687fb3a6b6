"""`auditspan worker`: sealing and relaying until stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import click

from auditspan_service.cli.console import data_option, say_lines
from auditspan_service.cli.starting import await_ready
from auditspan_service.config import Settings, load_settings
from auditspan_service.telemetry.logs import setup_logging
from auditspan_service.telemetry.reporting import reporting_metrics
from auditspan_service.worker import running_worker

_say = partial(say_lines, err=True)


@click.command()
@data_option
def worker() -> None:
    """Seal committed rows and relay them to the sink until stopped.

    Waits while PostgreSQL is starting or unreachable. Any number of workers may run against one
    PostgreSQL database; one is active, the others stand by.
    """
    settings = load_settings()
    with stop_signal() as told:
        await_ready(settings, told)
        if not told.is_set():
            _work(settings, told)


def _work(settings: Settings, told: threading.Event) -> None:
    setup_logging(level=settings.log_level, log_format=settings.log_format)
    with reporting_metrics(settings), running_worker(settings):
        _say(f"worker running, sink {settings.sink}")
        told.wait()
        _say("stopping")


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set; restore the previous handlers afterwards."""
    told = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda *_: told.set()) for kind in kinds}
    try:
        yield told
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
