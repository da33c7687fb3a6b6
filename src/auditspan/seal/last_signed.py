"""What was signed last, as it is remembered outside of the database.

A database can be put back to what it was; what has been signed cannot. Whoever signs a size a
second time, with other rows, under the same origin, says two things that cannot both be true. So
the sealer asks somebody whom no backup of the database takes back: where the table has fallen
behind what was signed, the trail goes on as another incarnation.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeAlias

from auditspan.tlog import Checkpoint, NoteError, Tree, goes_on_from, split_origin

_logger = logging.getLogger(__name__)


IsGrownFrom: TypeAlias = Callable[[int, bytes], bool]
"""Whether the leaves of the table have this root at this size, and its last checkpoint's after."""


class LastSigned(Protocol):
    """Says under which incarnation to sign."""

    def incarnation(
        self, tree: Tree, incarnation: int, *, is_grown_from: IsGrownFrom | None = None
    ) -> int:
        """The incarnation of the next checkpoint, where the table stands at this tree and one.

        It MUST NOT be smaller than that of the table. `is_grown_from` compares the leaves of the
        table with a tree that was signed before.
        """

    def remember(self, note: str) -> None:
        """This note is committed. It MUST NOT raise: the rows are sealed already."""


class LastSignedFile:
    """Keeps the last note in a file, which best lies beside the key.

    Where it cannot be written (keys are often mounted for reading) it is remembered as long as this
    process lives. A note that is lost is a check that is not made, and never a false alarm.

    Args:
        path: the file; its directory is there.
        log: the name of the signing key. What another log has signed is nothing to us.
    """

    def __init__(self, path: Path, *, log: str) -> None:
        self._path = path
        self._log = log
        self._note = ""
        self._is_writable = True

    def incarnation(
        self, tree: Tree, incarnation: int, *, is_grown_from: IsGrownFrom | None = None
    ) -> int:
        """That of the table, unless it does not go on from the last note: then an unused one."""
        last = self.last()
        if last is None:
            return incarnation
        following = split_origin(last.origin)[1] + 1
        if goes_on_from(last, tree, incarnation):
            if is_grown_from and incarnation < following and tree.size > last.size:
                return self._compared(last, incarnation, is_grown_from)
            return incarnation
        _logger.error(
            "%d leaves were signed as %s, and the table has %d: an older backup stands in its "
            "place, or rows were taken away; the trail goes on as incarnation %d, and `auditspan "
            "verify --witness` names what is lost",
            *(last.size, last.origin, tree.size, following),
        )
        return following

    def _compared(self, last: Checkpoint, incarnation: int, is_grown_from: IsGrownFrom) -> int:
        """The incarnation of a table that is larger than the last note."""
        if is_grown_from(last.size, last.root):
            return incarnation
        _logger.error(
            "the leaves of the table do not go on from what was signed as %s at size %d: rows were "
            "taken away or changed, or a checkpoint was put there; the trail goes on as "
            "incarnation %d, and `auditspan verify --witness` names what is lost",
            *(last.origin, last.size, incarnation + 1),
        )
        return incarnation + 1

    def last(self) -> Checkpoint | None:
        """The last checkpoint of the log that is known; None where there is none."""
        kept = ""
        with suppress(OSError, UnicodeDecodeError):
            kept = self._path.read_text(encoding="utf-8")
        # The file may be behind, where it can be read and not written, or ahead by another process.
        known = [one for note in (kept, self._note) if note and (one := self._parse(note))]
        return max(known, key=lambda one: (split_origin(one.origin)[1], one.size), default=None)

    def _parse(self, note: str) -> Checkpoint | None:
        try:
            last = Checkpoint.parse(note.partition("\n\n")[0] + "\n")
        except NoteError as error:
            _logger.warning("%s holds no checkpoint (%s) and is not used", self._path, error)
            return None
        return last if split_origin(last.origin)[0] == self._log else None

    def remember(self, note: str) -> None:
        """Put it into the file, whole or not at all; on return it is on the disk."""
        self._note = note
        # Two processes, or two threads of one, never write one draft.
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.{secrets.token_hex(8)}")
        try:
            _write_durably(draft, note)
            draft.replace(self._path)
            _sync_directory(self._path.parent)
            self._is_writable = True
        except OSError as error:
            if self._is_writable:  # said once, and tried again: a disk is full for a while only
                _logger.log(_level(error), "%s cannot be written: %s", self._path, error.strerror)
            self._is_writable = False
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _level(error: OSError) -> int:
    """A read-only mount is a choice, and that of the shipped worker; anything else is a fault."""
    return logging.INFO if error.errno == errno.EROFS else logging.WARNING


def _write_durably(path: Path, text: str) -> None:
    """A new file with this text, on the disk: else a crash could leave an empty one."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    """Have a name that was changed in it on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
