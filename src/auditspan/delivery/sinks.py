"""Where audit log records go: the contract of a sink, and the two that need no collector."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import IO, Protocol

from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult

from auditspan.errors import SinkUnavailableError

AUDIT_FILE = Path("audit", "audit.jsonl")
"""Where audit records lie below the collector's data directory."""


class Sink(Protocol):
    """Takes batches of audit log records.

    `send` MUST NOT return before the sink is answerable for the whole batch: for a file that is
    after fsync, for a collector after its parsed acknowledgement. It MUST raise otherwise. The
    caller MUST send a batch again after `SinkUnavailableError`, so records may arrive twice,
    under the same id.
    """

    name: str

    def send(self, records: Sequence[ReadableLogRecord]) -> None:
        """Deliver a batch.

        Raises:
            SinkUnavailableError: not now; send the same batch again later.
            SinkRejectedError: never; the batch holds a record that the sink refuses.
        """

    def close(self) -> None:
        """Give back what the sink holds; a later `send` takes it again."""


class FileSink:
    """Appends OTLP JSON lines below a directory, in the layout of the collector's files."""

    name = "file"

    def __init__(self, directory: Path) -> None:
        self.path = directory / AUDIT_FILE
        self._stream: IO[str] | None = None

    def send(self, records: Sequence[ReadableLogRecord]) -> None:
        """Append the batch as one line and wait until it is on the disk."""
        try:
            stream = self._open()
            write_records(stream, records)
            os.fsync(stream.fileno())
        except (OSError, SinkUnavailableError) as error:
            self._drop()
            raise SinkUnavailableError(f"{self.path} cannot be written: {error}") from error

    def close(self) -> None:
        """Close the file."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _open(self) -> IO[str]:
        if self._stream is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("a", encoding="utf-8")
        return self._stream

    def _drop(self) -> None:
        """Forget the stream: what a failed write left in its buffer must not come later."""
        stream, self._stream = self._stream, None
        if stream is not None:
            descriptor = os.open(os.devnull, os.O_WRONLY)
            os.dup2(descriptor, stream.fileno())
            os.close(descriptor)
            stream.close()


class ConsoleSink:
    """Prints OTLP JSON lines on standard output."""

    name = "console"

    def __init__(self, stream: Callable[[], IO[str]] = lambda: sys.stdout) -> None:
        self._stream = stream

    def send(self, records: Sequence[ReadableLogRecord]) -> None:
        """Print the batch as one line."""
        try:
            write_records(self._stream(), records)
        except OSError as error:
            raise SinkUnavailableError(f"standard output cannot be written: {error}") from error

    def close(self) -> None:
        """Nothing to do: standard output is not ours."""


def write_records(stream: IO[str], records: Sequence[ReadableLogRecord]) -> None:
    """Write a batch as one OTLP JSON line and flush it.

    Raises:
        OSError: the stream cannot be written. The exporter alone would log it with a traceback.
        SinkUnavailableError: the batch cannot be encoded.
    """
    line = StringIO()
    result = FileLogExporter(stream=line).export(records)
    if result is not LogRecordExportResult.SUCCESS:
        raise SinkUnavailableError("the records cannot be encoded; the log above says why")
    stream.write(line.getvalue())
    stream.flush()
