"""Traces in a directory of collector files, found by an index."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

from auditspan.errors import CollectorFilesError
from auditspan.telemetry.otlp.collector_files import open_files, translated
from auditspan.telemetry.otlp.files import read_logs, read_spans
from auditspan.telemetry.otlp.trace_index import TraceIndex
from auditspan.telemetry.otlp.trace_tree import Trace, build_trace

INDEX_NAME = ".auditspan-traces.sqlite"
"""The name of the index in a directory of collector files."""

_CHUNK = 1024 * 1024
_MANY = 16
"""The number of chunks that are worth indexing; fewer are searched as text each time."""

_WAIT = 30.0
"""Seconds to wait for another process that is indexing the same files."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class TraceFiles:
    """Traces in the collector's files, found by an index of their trace ids.

    The index is the file `.auditspan-traces.sqlite` beside the collector's files. Where that cannot
    be written, it is kept in memory, and so made anew by each process. What it does not have yet is
    searched as text, so the result is always that of reading every file. If that was much, a thread
    then indexes it. The index may be deleted at any time.

    Args:
        path: the directory, or a single file, whose index is kept in memory.
        chunk: the number of bytes that are read together.
    """

    def __init__(self, path: Path | str, *, chunk: int = _CHUNK) -> None:
        self.path = Path(path)
        self._chunk = chunk
        self._lock = threading.RLock()
        self._memory: sqlite3.Connection | None = None
        self._indexing: threading.Thread | None = None

    def trace(self, trace_id: str) -> Trace:
        """Return the trace with this id of 32 hexadecimal digits; an empty one if there is none.

        Raises:
            CollectorFilesError: the files do not exist, cannot be read, or are not OTLP JSON.
        """
        with self._lock:
            return self._with_index(partial(self._found, trace_id.lower()))

    def index(self) -> None:
        """Index what is new in the files, so that it need not be searched as text.

        Raises:
            CollectorFilesError: the files do not exist, cannot be read, or are not OTLP JSON.
        """
        self._with_index(self._update)

    def wait(self) -> None:
        """Wait until files are indexed that a search has found unindexed."""
        if self._indexing is not None:
            self._indexing.join()

    def _with_index(self, use: Callable[[TraceIndex], T]) -> T:
        if self._memory is None and self.path.is_dir():
            try:
                with closing(_opened(self.path / INDEX_NAME)) as connection:
                    return use(TraceIndex(connection, chunk=self._chunk))
            except (OSError, sqlite3.Error) as error:
                _log.info("the index of traces in %s is kept in memory: %s", self.path, error)
        with self._lock:
            self._memory = self._memory or _connect(":memory:")
            index = TraceIndex(self._memory, chunk=self._chunk)
        return use(index)

    def _found(self, trace_id: str, index: TraceIndex) -> Trace:
        spans = read_spans(self.path, trace_id=trace_id, index=index)
        trace = build_trace(trace_id, spans, read_logs(self.path, trace_id=trace_id, index=index))
        if index.unindexed >= self._chunk * _MANY and not self._is_indexing:
            self._indexing = threading.Thread(target=self._index_quietly, daemon=True)
            self._indexing.start()
        return trace

    @property
    def _is_indexing(self) -> bool:
        return self._indexing is not None and self._indexing.is_alive()

    def _index_quietly(self) -> None:
        try:
            self.index()
        except CollectorFilesError as error:
            _log.info("the traces in %s are not indexed: %s", self.path, error)

    def _update(self, index: TraceIndex) -> None:
        for file, stream in open_files(self.path):
            with translated(file):
                index.update(stream, self._lock)
        with self._lock:
            index.prune()


def _opened(place: Path) -> sqlite3.Connection:
    """Open the file of an index, which only its owner may read; not through a link."""
    os.close(os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    return _connect(str(place))


def _connect(place: str) -> sqlite3.Connection:
    return sqlite3.connect(place, timeout=_WAIT, isolation_level=None, check_same_thread=False)
