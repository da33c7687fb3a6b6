"""Processes that check ranges of rows side by side."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO

from auditspan.verify.ranges import Checked, Job

if sys.platform == "linux":
    import fcntl

_MODULE = "auditspan.verify.range_process"
_PIPE = 2**20
"""Bytes of a wide pipe. It holds some ranges, so that a process need not wait for slower ones."""

_logger = logging.getLogger(__name__)


def cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def checking(jobs: Sequence[Job]) -> Iterator[Iterator[Checked]]:
    """Start a process for each job, and yield the outcomes of the ranges in their order.

    They end early if a process fails, which is logged: what is missing is left to the caller.
    """
    with ExitStack() as stack:
        processes = []
        for job in jobs:
            process = stack.enter_context(_started())
            stack.callback(process.kill)  # before the exit of its own context, which waits
            _send_job(process, job)
            processes.append(process)
        yield _outcomes(jobs, processes)


def _started() -> subprocess.Popen[bytes]:
    """Start a process that imports what this one can import."""
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(  # noqa: S603 (our own module)
        [sys.executable, "-P", "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **paths},
    )
    _widen(_stream(process.stdout))
    return process


def _widen(pipe: IO[bytes]) -> None:
    if sys.platform == "linux":
        with suppress(OSError):  # the user's pipes are many, or the system allows less
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def _send_job(process: subprocess.Popen[bytes], job: Job) -> None:
    """Hand over a job through the pipe: its keys are in no file, argument or variable."""
    with suppress(BrokenPipeError):  # its outcomes are missing, too
        stream = _stream(process.stdin)
        pickle.dump(job, stream, protocol=pickle.HIGHEST_PROTOCOL)
        stream.close()


def _outcomes(
    jobs: Sequence[Job], processes: Sequence[subprocess.Popen[bytes]]
) -> Iterator[Checked]:
    for turn in range(max((len(job.ranges) for job in jobs), default=0)):
        for job, process in zip(jobs, processes, strict=True):
            if turn == len(job.ranges):
                return
            outcome = _next(_stream(process.stdout))
            if not isinstance(outcome, Checked):
                _logger.warning("a process that verifies has failed, going on alone: %s", outcome)
                return
            yield outcome


def _next(stream: IO[bytes]) -> Checked | str:
    try:
        found: Checked | str = pickle.load(stream)  # noqa: S301 (from our own process)
    except (EOFError, pickle.UnpicklingError):
        return "it ended"
    return found


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process has no pipe")
    return stream
