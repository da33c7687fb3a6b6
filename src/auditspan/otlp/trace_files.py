"""Traces in a directory of collector files, found by an index."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from auditspan.otlp.files import read_logs, read_spans
from auditspan.otlp.trace_index import TraceIndex
from auditspan.otlp.trace_tree import Trace, build_trace

INDEX_NAME = ".auditspan-traces.sqlite"
"""The name of the index in a directory of collector files."""

_CHUNK = 1024 * 1024
_WAIT = 30.0
"""Seconds to wait for another process that is indexing the same files."""

_log = logging.getLogger(__name__)


class TraceFiles:
    """Traces in the collector's files, found by an index of their trace ids.

    The index is the file `.auditspan-traces.sqlite` beside the collector's files. Where that cannot
    be written, it is kept in memory, and so made anew by each process. It is brought up to date
    before each search, whose result is that of reading every file. It may be deleted at any time.

    Args:
        path: the directory, or a single file, whose index is kept in memory.
        chunk: the number of bytes that are read together.
    """

    def __init__(self, path: Path | str, *, chunk: int = _CHUNK) -> None:
        self.path = Path(path)
        self._chunk = chunk
        self._lock = threading.Lock()
        self._memory: sqlite3.Connection | None = None

    def trace(self, trace_id: str) -> Trace:
        """Return the trace with this id of 32 hexadecimal digits; an empty one if there is none.

        Raises:
            CollectorFilesError: the files do not exist, cannot be read, or are not OTLP JSON.
        """
        with self._lock:
            if self._memory is None and self.path.is_dir():
                try:
                    with closing(_opened(self.path / INDEX_NAME)) as connection:
                        return self._found(connection, trace_id)
                except (OSError, sqlite3.Error) as error:
                    _log.info("the index of traces in %s is kept in memory: %s", self.path, error)
            self._memory = self._memory or _connect(":memory:")
            return self._found(self._memory, trace_id)

    def _found(self, connection: sqlite3.Connection, trace_id: str) -> Trace:
        index, wanted = TraceIndex(connection, chunk=self._chunk), trace_id.lower()
        spans = read_spans(self.path, trace_id=wanted, index=index)
        trace = build_trace(wanted, spans, read_logs(self.path, trace_id=wanted, index=index))
        index.forget_others()
        return trace


def _opened(place: Path) -> sqlite3.Connection:
    """Open the file of an index, which only its owner may read; not through a link."""
    os.close(os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    return _connect(str(place))


def _connect(place: str) -> sqlite3.Connection:
    return sqlite3.connect(place, timeout=_WAIT, isolation_level=None, check_same_thread=False)
