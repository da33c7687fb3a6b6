"""Start of a child process that ends with its parent."""

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
    """Command of a child process, with its environment, log and descriptor."""

    command: Sequence[str]
    #: The complete environment: nothing is inherited.
    environ: Mapping[str, str]
    #: The file that its output is appended to.
    log_file: Path
    #: A descriptor that it keeps open for its lifetime.
    descriptor: int


def spawn(child: Child) -> subprocess.Popen[bytes]:
    """Start `child`; on Linux it gets SIGTERM when this process ends for any reason.

    To the kernel, "the parent" is the THREAD that forked: if that thread ends, the child ends, too.
    So the forking thread runs until the child ends.
    """
    started: Future[subprocess.Popen[bytes]] = Future()
    Thread(target=_fork_and_stay, args=(child, started), name="collector", daemon=True).start()
    return started.result()


def _fork_and_stay(child: Child, started: Future[subprocess.Popen[bytes]]) -> None:
    try:
        process = _fork(child)
    except BaseException as error:  # noqa: BLE001  raised in the calling thread
        started.set_exception(error)
        return
    started.set_result(process)
    process.wait()


def _fork(child: Child) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", str(_BECOME), str(os.getpid()), *child.command]
    with child.log_file.open("ab") as log:
        return subprocess.Popen(  # noqa: S603  a bundled script, and the configured binary
            command,
            env=dict(child.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(child.descriptor,),
            # Not in the terminal's foreground group: Ctrl-C is for the service, which stops the
            # collector last, after everything has been sent to it.
            start_new_session=True,
        )
