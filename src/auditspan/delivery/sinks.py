"""Sinks of audit log records: the contract, and the two sinks that need no collector."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Protocol

from auditspan.delivery.encoding import encode_json
from auditspan.delivery.log_record import ExportRecord
from auditspan.errors import SinkUnavailableError
from auditspan.storage.files import sync_directory

AUDIT_FILE = Path("audit", "audit.jsonl")
"""The path of the audit records below the collector's data directory."""


class Sink(Protocol):
    """Destination of audit log records.

    `send` MUST NOT return before the sink has taken responsibility for the whole batch: a file
    after fsync, a collector after its parsed acknowledgement. It MUST raise otherwise. The caller
    MUST send a batch again after `SinkUnavailableError`, so records may arrive twice, under the
    same id.
    """

    name: str

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Deliver a batch.

        Raises:
            SinkUnavailableError: the sink is unavailable; send the same batch again later.
            SinkRejectedError: the sink permanently refuses a record of the batch.
        """

    def close(self) -> None:
        """Release the resources of the sink; a later `send` acquires them again."""


class FileSink:
    """Sink that appends OTLP JSON lines below a directory, laid out like the collector's files.

    Other programs may rename, remove or replace the file while it is open: a batch is acknowledged
    only if the file at the path contains it after fsync.
    """

    name = "file"

    def __init__(self, directory: Path) -> None:
        self.path = directory / AUDIT_FILE
        self._stream: IO[str] | None = None

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Append the batch as one line and fsync it."""
        try:
            self._append(records)
        except OSError as error:
            self._drop()
            raise SinkUnavailableError(f"{self.path} cannot be written: {error}") from error

    def close(self) -> None:
        """Close the file."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _append(self, records: Sequence[ExportRecord]) -> None:
        stream = self._open()
        write_records(stream, records)
        os.fsync(stream.fileno())
        if not self._is_at_path(stream):
            raise OSError("it was moved or removed during the write; the batch is sent again")

    def _open(self) -> IO[str]:
        if self._stream is not None and not self._is_at_path(self._stream):
            self.close()
        if self._stream is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("a", encoding="utf-8")
            for directory in self.path.parents[:2]:  # else a crash could lose a new file's name
                sync_directory(directory)
        return self._stream

    def _is_at_path(self, stream: IO[str]) -> bool:
        """Return whether the path still names the open file, whose inode is not used again."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(stream.fileno()))
        except FileNotFoundError:
            return False

    def _drop(self) -> None:
        """Discard the stream with the buffer of a failed write, which must not be written later."""
        stream, self._stream = self._stream, None
        if stream is not None:
            descriptor = os.open(os.devnull, os.O_WRONLY)
            os.dup2(descriptor, stream.fileno())
            os.close(descriptor)
            stream.close()


class ConsoleSink:
    """Sink that prints OTLP JSON lines on standard output."""

    name = "console"

    def __init__(self, stream: Callable[[], IO[str]] = lambda: sys.stdout) -> None:
        self._stream = stream

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Print the batch as one line."""
        stream: IO[str] | None = self._stream()
        if stream is None or stream.closed:
            raise SinkUnavailableError("standard output cannot be written: it is closed")
        try:
            write_records(stream, records)
        except OSError as error:
            raise SinkUnavailableError(f"standard output cannot be written: {error}") from error

    def close(self) -> None:
        """Do nothing: standard output stays open."""


def write_records(stream: IO[str], records: Sequence[ExportRecord]) -> None:
    """Write a batch as one OTLP JSON line and flush it.

    Raises:
        OSError: the stream cannot be written.
    """
    stream.write(encode_json(records))
    stream.flush()
