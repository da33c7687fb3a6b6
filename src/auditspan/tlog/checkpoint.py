"""What the checkpoints of one trail are called, and how they are signed.

The origin is `<key name>/<incarnation>`. The incarnation grows when the trail goes on from a
restored backup: sizes may come a second time then, and must not look like the same log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from auditspan.tlog.merkle import Tree
from auditspan.tlog.note import Checkpoint, NoteError, PublicKey, SigningKey, open_note, sign_note

KEY_PREFIX = "auditspan/"
"""How the name of every signing key begins; the rest names the trail."""

_INCARNATION = re.compile(r"[^\n]*/([1-9][0-9]{0,8})\n")


def sign_checkpoint(keys: SigningKey | Sequence[SigningKey], tree: Tree, incarnation: int) -> str:
    """The signed note of a tree. The caller MUST NOT sign a size at or below the last one.

    Several keys sign while one takes the place of another: whoever trusts the old one sees that it
    vouches for the new. They have one name, which is the log's.

    Raises:
        NoteError: there is no key, or they have not one name.
    """
    signers = [keys] if isinstance(keys, SigningKey) else list(keys)
    if len({key.name for key in signers}) != 1:
        raise NoteError("the keys of a log have one name")
    origin = f"{signers[0].name}/{incarnation}"
    return sign_note(Checkpoint(origin=origin, size=tree.size, root=tree.root).text(), signers)


def incarnation_of(note: str | None) -> int:
    """The incarnation that a note of the table names; the first where there is no note yet."""
    match = _INCARNATION.match(note or "")
    return int(match[1]) if match else 1


def split_origin(origin: str) -> tuple[str, int]:
    """The name of the log, and its incarnation; the first where the origin names none."""
    name, _, _ = origin.rpartition("/")
    return name, incarnation_of(f"{origin}\n")


def log_name(note: str | None) -> str | None:
    """Return the name of the log that a note claims, unverified; None if it claims none."""
    try:
        return split_origin(Checkpoint.parse((note or "").partition("\n\n")[0] + "\n").origin)[0]
    except NoteError:
        return None


def goes_on_from(last: Checkpoint, tree: Tree, incarnation: int) -> bool:
    """Whether a trail at this tree is the one that `last` was signed for, or has grown from it.

    No certain answer for a larger tree: what it was at the size of `last` is not known here.
    """
    _, signed = split_origin(last.origin)
    if incarnation != signed:
        return incarnation > signed
    return tree.size > last.size or (tree.size, tree.root) == (last.size, last.root)


def check_checkpoint(
    note: str, *, size: int, root: bytes, keys: tuple[PublicKey, ...]
) -> str | None:
    """What is wrong with the note of a checkpoint; None when it is signed and says the same."""
    try:
        opened = open_note(note, keys)
        said = Checkpoint.parse(opened.text)
    except NoteError as error:
        return str(error)
    names = {said.origin == f"{key.name}/{incarnation_of(note)}" for key in opened.signers}
    if (said.size, said.root) != (size, root) or True not in names:
        return f"the note speaks of {said.origin}, size {said.size}, root {said.root.hex()}"
    return None
