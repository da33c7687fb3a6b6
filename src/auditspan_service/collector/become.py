"""A script that becomes the collector, and ends when the process that started it ends.

    python -I -S become.py PARENT_PID BINARY [ARGUMENT …]

A service that is killed with `kill -9` cannot stop its collector, and an orphan would keep writing
to files that the next one opens. On Linux the kernel can send a signal when the parent ends, and
this setting survives exec. `subprocess` offers `preexec_fn` for that, but it runs Python between
fork and exec and may deadlock in a process with threads, such as the service; this script does it
after the exec, at the cost of a Python start (about 30 ms). The process id stays the same.

Other systems have no such signal. There the lock on the data directory, which the collector
inherits and holds for its lifetime, prevents a second one from writing to the same files.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Request the signal, then replace this program by `command`."""
    if sys.platform == "linux":
        # SIGTERM and not SIGKILL: the collector ends within milliseconds, with complete lines.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it ended before the request
            sys.exit("The process that started the collector has ended.")
    os.execv(command[0], command)  # noqa: S606  intentionally without a shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
