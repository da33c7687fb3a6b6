"""Process that checks ranges of rows: `python -m auditspan.verify.range_process`.

It reads a `Job` from standard input, and writes a `Checked` for each of its ranges, or a text that
says why it cannot. It is a program of its own, so that it works from any program: neither threads
nor an unprotected `__main__` of the caller matter.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from typing import IO

from auditspan.verify.ranges import Job, check_range


def main() -> None:
    """Check the ranges; Ctrl-C is left to the caller, which ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # traversing what was imported takes 3 % of the time
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may be written between
    try:
        _check(pickle.load(sys.stdin.buffer), output)  # noqa: S301 (from our own process)
    except BrokenPipeError:
        os._exit(1)  # the caller has ended
    except Exception as error:  # noqa: BLE001 (the caller reports it)
        _write(output, f"{type(error).__name__}: {error}".partition("\n")[0])


def _check(job: Job, output: IO[bytes]) -> None:
    tables = job.tables()
    with job.source.connected() as connection:
        rows = job.row_check(connection, tables)
        for numbers in job.ranges:
            _write(output, check_range(connection, tables, rows, numbers))


def _write(output: IO[bytes], outcome: object) -> None:
    pickle.dump(outcome, output, protocol=pickle.HIGHEST_PROTOCOL)
    output.flush()


if __name__ == "__main__":
    main()
