"""Become the collector, and end when the process that started it ends. Run as a script.

    python -I -S become.py PARENT_PID BINARY [ARGUMENT …]

A service that is killed with `kill -9` cannot stop its collector, and an orphan would go on writing
to files that the next one opens. On Linux the kernel can be told to send a signal when the parent
ends, and the setting survives exec. `subprocess` has `preexec_fn` for that, which runs Python
between fork and exec and may deadlock in a process that has threads, as ours has; this script does
it after the exec, for the price of a Python start (about 30 ms). The process id stays the same.

On other systems there is no such signal. There the lock on the data directory, which the collector
inherits and holds as long as it lives, keeps a second one from writing to the same files.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Ask for the signal, then replace this program by `command`."""
    if sys.platform == "linux":
        # SIGTERM and not SIGKILL: the collector ends within milliseconds, and tears no line.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it ended before we asked
            sys.exit("The process that started the collector is gone.")
    os.execv(command[0], command)  # noqa: S606  no shell is the point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
