"""`auditspan worker`: sealing and relaying until stopped."""

from __future__ import annotations

from functools import partial

import click

from auditspan.cli.commands.console import say_lines
from auditspan.cli.commands.starting import await_ready
from auditspan.cli.commands.stop_request import StopRequest, stop_signal
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
    with stop_signal() as stopped:
        await_ready(target, stopped)
        if not stopped.is_set():
            _work(target, stopped)


def _work(target: Target, stopped: StopRequest) -> None:
    with target.telemetry(), target.opened_engine() as engine, target.worker(engine):
        _say(f"worker running, sink {target.settings.sink}")
        stopped.wait()
        _say("stopping")
