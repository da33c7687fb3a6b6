"""Names and signatures of checkpoints.

The origin is `<key name>/<incarnation>`. The incarnation is incremented when a trail resumes from a
restored backup: sizes may then repeat, and must not appear to belong to the same log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from auditspan.tlog.merkle import Tree
from auditspan.tlog.note import Checkpoint, NoteError, PublicKey, SigningKey, open_note, sign_note

KEY_PREFIX = "auditspan/"
"""The prefix of every signing key name; the rest is the name of the trail."""

_INCARNATION = re.compile(r"[^\n]*/([1-9][0-9]{0,8})\n")


def sign_checkpoint(keys: SigningKey | Sequence[SigningKey], tree: Tree, incarnation: int) -> str:
    """Return the signed note of a tree. The caller MUST NOT sign a size at or below the last one.

    During key rotation several keys sign: verifiers that trust the old key see that it vouches for
    the new one. All keys have the same name, which is the name of the log.

    Raises:
        NoteError: there is no key, or the names differ.
    """
    signers = [keys] if isinstance(keys, SigningKey) else list(keys)
    if len({key.name for key in signers}) != 1:
        raise NoteError("invalid signing keys: expected at least one, all with the same name")
    origin = f"{signers[0].name}/{incarnation}"
    return sign_note(Checkpoint(origin=origin, size=tree.size, root=tree.root).text(), signers)


def incarnation_of(note: str | None) -> int:
    """Return the incarnation that a stored note names; 1 if there is no note yet."""
    match = _INCARNATION.match(note or "")
    return int(match[1]) if match else 1


def split_origin(origin: str) -> tuple[str, int]:
    """Return the name and the incarnation of a log; the incarnation is 1 if not in the origin."""
    name, _, _ = origin.rpartition("/")
    return name, incarnation_of(f"{origin}\n")


def log_name(note: str | None) -> str | None:
    """Return the log name in a note, without verifying it; None if there is none."""
    try:
        return split_origin(Checkpoint.parse((note or "").partition("\n\n")[0] + "\n").origin)[0]
    except NoteError:
        return None


def may_continue(last: Checkpoint, tree: Tree, incarnation: int) -> bool:
    """Check whether a tree can be the one that `last` was signed for, or a later state of it.

    For a larger tree the answer is not certain: its root at the size of `last` is not known here.
    """
    _, signed = split_origin(last.origin)
    if incarnation != signed:
        return incarnation > signed
    return tree.size > last.size or (tree.size, tree.root) == (last.size, last.root)


def check_checkpoint(
    note: str, *, size: int, root: bytes, keys: tuple[PublicKey, ...]
) -> str | None:
    """Return the problem with a checkpoint's note; None if it is signed and matches."""
    try:
        opened = open_note(note, keys)
        said = Checkpoint.parse(opened.text)
    except NoteError as error:
        return str(error)
    names = {said.origin == f"{key.name}/{incarnation_of(note)}" for key in opened.signers}
    if (said.size, said.root) != (size, root) or True not in names:
        return f"the note is for {said.origin}, size {said.size}, root {said.root.hex()}"
    return None
