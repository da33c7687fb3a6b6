"""The last signed note, remembered outside the database.

A database can be restored to an older state; a signature cannot be taken back. Signing a size a
second time, with other rows, under the same origin, makes two contradictory statements. So the
sealer asks a source that no restored backup affects: if the table has fallen behind what was
signed, the trail continues as another incarnation.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeAlias

from auditspan.storage.files import durable_file
from auditspan.tlog import Checkpoint, NoteError, Tree, may_continue, split_origin

_logger = logging.getLogger(__name__)


IsGrownFrom: TypeAlias = Callable[[int, bytes], bool]
"""Returns whether the leaves have this root at this size, and the last checkpoint's at the end."""


class LastSigned(Protocol):
    """Source of the incarnation to sign under."""

    def incarnation(
        self, tree: Tree, incarnation: int, *, is_grown_from: IsGrownFrom | None = None
    ) -> int:
        """Return the next checkpoint's incarnation, given the table's tree and incarnation.

        It MUST NOT be smaller than the incarnation of the table. `is_grown_from` compares the
        leaves of the table with a tree that was signed before.
        """

    def remember(self, note: str) -> None:
        """Remember a committed note. This MUST NOT raise: the rows are already sealed."""


class LastSignedFile:
    """File that holds the last note, best kept beside the key.

    If the file cannot be written (keys are often mounted read-only), the note is remembered while
    this process runs. A lost note means a check that is not made, and never a false alarm.

    Args:
        path: the file; its directory must exist.
        log: the name of the signing key. Notes of other logs are ignored.
    """

    def __init__(self, path: Path, *, log: str) -> None:
        self._path = path
        self._log = log
        self._note = ""
        self._is_writable = True

    def incarnation(
        self, tree: Tree, incarnation: int, *, is_grown_from: IsGrownFrom | None = None
    ) -> int:
        """Return the table's incarnation, or a new one if it does not continue the last note."""
        last = self.last()
        if last is None:
            return incarnation
        following = split_origin(last.origin)[1] + 1
        if may_continue(last, tree, incarnation):
            if is_grown_from and incarnation < following and tree.size > last.size:
                return self._compared(last, incarnation, is_grown_from)
            return incarnation
        _logger.error(
            "%d leaves were signed as %s, but the table has %d: an older backup was restored, or "
            "rows were removed; the trail continues as incarnation %d; run `auditspan verify "
            "--witness` to list what is lost",
            *(last.size, last.origin, tree.size, following),
        )
        return following

    def _compared(self, last: Checkpoint, incarnation: int, is_grown_from: IsGrownFrom) -> int:
        """Return the incarnation of a table that is larger than the last note."""
        if is_grown_from(last.size, last.root):
            return incarnation
        _logger.error(
            "the leaves of the table do not continue the tree signed as %s at size %d: rows were "
            "removed or changed, or a checkpoint was inserted; the trail continues as incarnation "
            "%d; run `auditspan verify --witness` to list what is lost",
            *(last.origin, last.size, incarnation + 1),
        )
        return incarnation + 1

    def last(self) -> Checkpoint | None:
        """Return the last known checkpoint of the log; None if there is none."""
        kept = ""
        with suppress(OSError, UnicodeDecodeError):
            kept = self._path.read_text(encoding="utf-8")
        # The file may be behind, if it is read-only, or ahead, if another process wrote it.
        known = [one for note in (kept, self._note) if note and (one := self._parse(note))]
        return max(known, key=lambda one: (split_origin(one.origin)[1], one.size), default=None)

    def _parse(self, note: str) -> Checkpoint | None:
        try:
            last = Checkpoint.parse(note.partition("\n\n")[0] + "\n")
        except NoteError as error:
            _logger.warning("%s does not hold a checkpoint (%s) and is ignored", self._path, error)
            return None
        return last if split_origin(last.origin)[0] == self._log else None

    def remember(self, note: str) -> None:
        """Write the note atomically and fsync it."""
        self._note = note
        try:
            with durable_file(self._path) as stream:
                stream.write(note)
            self._is_writable = True
        except OSError as error:
            if self._is_writable:  # logged once, and retried: a full disk may be temporary
                _logger.log(_level(error), "%s cannot be written: %s", self._path, error.strerror)
            self._is_writable = False


def _level(error: OSError) -> int:
    """Return INFO for a read-only mount, as in the shipped worker; anything else is a fault."""
    return logging.INFO if error.errno == errno.EROFS else logging.WARNING
