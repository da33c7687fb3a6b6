"""`auditspan worker`: sealing and relaying until stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import click

from auditspan.cli.commands.console import say_lines
from auditspan.cli.commands.starting import await_ready
from auditspan.cli.commands.target import Target, pass_target
from auditspan.cli.options import data_option

_say = partial(say_lines, err=True)


@click.command()
@data_option
@pass_target
def worker(target: Target) -> None:
    """Seal committed rows and relay them to the sink until stopped.

    Waits while PostgreSQL is starting or unreachable. Any number of workers may run against one
    PostgreSQL database; one is active, the others stand by.
    """
    with stop_signal() as told:
        await_ready(target, told)
        if not told.is_set():
            _work(target, told)


def _work(target: Target, told: threading.Event) -> None:
    with target.telemetry(), target.opened_engine() as engine, target.worker(engine):
        _say(f"worker running, sink {target.settings.sink}")
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
