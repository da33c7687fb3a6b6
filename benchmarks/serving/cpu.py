"""CPU time of the programs that take part in a request, by their processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from sqlalchemy import Engine, text

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _GROUP, _OWN, _OF_CHILDREN = 1, 2, slice(11, 13), slice(11, 15)
"""Fields of /proc/PID/stat after the name: man 5 proc_pid_stat."""


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """Seconds of CPU, or milliseconds for one request, of each program.

    Attributes:
        server: gunicorn with the application.
        database: PostgreSQL, with its background processes.
        worker: the worker, which seals and delivers.
        collector: the collector.
        client: the process that sends the requests.
    """

    server: float
    database: float
    worker: float
    collector: float
    client: float

    @property
    def total(self) -> float:
        """That of all of them."""
        return float(sum(astuple(self)))

    def since(self, before: Cpu, *, requests: int) -> Cpu:
        """Return the milliseconds for one request since an earlier reading."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return _cpu([1000 * (now - then) / requests for now, then in pairs])


def median_of(found: list[Cpu], median: Callable[[Iterator[float]], float]) -> Cpu:
    """Return the median of each program."""
    return _cpu([median(iter(column)) for column in zip(*map(astuple, found), strict=True)])


def _cpu(values: list[float]) -> Cpu:
    server, database, worker, collector, client = values
    return Cpu(server=server, database=database, worker=worker, collector=collector, client=client)


@dataclass(frozen=True, kw_only=True)
class Programs:
    """The programs that take part, by the ids of their processes on this machine.

    Attributes:
        server: the process group of gunicorn.
        postmaster: the parent of PostgreSQL's processes.
        worker: the process group of the worker, if there is one.
        collector: the collector.
    """

    server: int
    postmaster: int
    worker: int | None
    collector: int

    def read(self) -> Cpu:
        """Return the seconds of CPU that each has used until now."""
        everything = list(_stats())
        return Cpu(
            server=_of(everything, _GROUP, self.server),
            database=_database(everything, self.postmaster),
            worker=_of(everything, _GROUP, self.worker) if self.worker else 0.0,
            collector=_seconds(_stat(self.collector)[_OWN]),
            client=time.process_time(),
        )


def postmaster_of(engine: Engine) -> int:
    """Return the process of a PostgreSQL server on this machine that starts all the others."""
    with engine.connect() as connection:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        return int(_stat(backend)[_PARENT])


def _database(everything: list[list[str]], postmaster: int) -> float:
    """Sum up the processes that run; the postmaster knows the time of those that have ended."""
    return _seconds(_stat(postmaster)[_OF_CHILDREN]) + _of(everything, _PARENT, postmaster)


def _of(everything: list[list[str]], position: int, number: int) -> float:
    return sum(_seconds(one[_OWN]) for one in everything if int(one[position]) == number)


def _seconds(ticks: list[str]) -> float:
    return sum(map(int, ticks)) / _TICKS


def _stats() -> Iterator[list[str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield _stat(int(entry.name))
            except OSError:  # it has ended meanwhile
                continue


def _stat(process: int) -> list[str]:
    text_ = Path(f"/proc/{process}/stat").read_text()
    return text_.rpartition(")")[2].split()
