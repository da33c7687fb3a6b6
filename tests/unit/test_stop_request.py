"""The request to stop a command, whichever thread receives the signal."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from importlib import import_module

import pytest

from auditspan.cli import commands
from auditspan.cli.commands import stop_signal
from support.patience import PATIENCE

KINDS = [signal.SIGINT, signal.SIGTERM]


def to_the_process(kind: signal.Signals) -> None:
    """Send the signal as `kill` does; the main thread usually receives it."""
    os.kill(os.getpid(), kind)


def to_another_thread(kind: signal.Signals) -> None:
    """Let the calling thread receive the signal, which leaves the main thread asleep."""
    signal.pthread_kill(threading.get_ident(), kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("send", [to_the_process, to_another_thread])
def test_signal_ends_a_wait(send: Callable[[signal.Signals], None], kind: signal.Signals) -> None:
    """The wait without a timeout ends too; the previous handlers are there afterwards."""
    before = [signal.getsignal(one) for one in KINDS]

    def send_soon() -> None:
        time.sleep(0.1)  # the main thread sleeps by then
        send(kind)

    with stop_signal() as stopped:
        sender = threading.Thread(target=send_soon)
        sender.start()
        assert stopped.wait(PATIENCE)
        assert stopped.wait()
        sender.join()
    assert before == [signal.getsignal(one) for one in KINDS]


def test_signal_before_the_wait_ends_it() -> None:
    """The request is remembered."""
    with stop_signal() as stopped:
        assert not stopped.is_set()
        to_the_process(signal.SIGTERM)
        assert stopped.wait()
        assert stopped.is_set()


def test_wait_ends_after_its_time() -> None:
    """Without a signal it returns false."""
    with stop_signal() as stopped:
        assert not stopped.wait(0.01)


def test_name_is_a_function_after_its_module_is_imported() -> None:
    """A module of the same name would take its place."""
    import_module("auditspan.cli.commands.worker")
    assert callable(commands.stop_signal)
