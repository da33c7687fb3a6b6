"""Starting a child process that ends with this one."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BECOME = Path(__file__).with_name("become.py")


@dataclass(frozen=True, kw_only=True)
class Child:
    """What is to be started, and with what in its hands."""

    command: Sequence[str]
    #: All of it: nothing is inherited.
    environ: Mapping[str, str]
    #: Where its output is appended.
    log_file: Path
    #: A descriptor that it keeps open as long as it lives.
    descriptor: int


def spawn(child: Child) -> subprocess.Popen[bytes]:
    """Start `child`; it gets SIGTERM when this process ends, in whatever way (on Linux).

    The kernel takes "the parent" to be the THREAD that forked: forked by a thread that ends, the
    child would end with it. So it is forked by a thread that lives as long as the child.
    """
    started: Future[subprocess.Popen[bytes]] = Future()
    Thread(target=_fork_and_stay, args=(child, started), name="collector", daemon=True).start()
    return started.result()


def _fork_and_stay(child: Child, started: Future[subprocess.Popen[bytes]]) -> None:
    try:
        process = _fork(child)
    except BaseException as error:  # noqa: BLE001  it is raised where it was asked for
        started.set_exception(error)
        return
    started.set_result(process)
    process.wait()


def _fork(child: Child) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", str(_BECOME), str(os.getpid()), *child.command]
    with child.log_file.open("ab") as log:
        return subprocess.Popen(  # noqa: S603  our own script, and the binary we were told to run
            command,
            env=dict(child.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(child.descriptor,),
            # Out of the terminal's foreground group: Ctrl-C is for the service, which stops the
            # collector last, after everything has been sent to it.
            start_new_session=True,
        )
