"""The witness: signed checkpoints in the collector's files, out of reach of the database.

An attacker with every privilege in the database, and even the signing key, can produce tables that
are consistent in themselves: truncated, restored from an older backup, rewritten and signed again,
or empty. The checkpoints that were sent to the collector before contradict them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auditspan.telemetry import semconv
from auditspan.telemetry.otlp import read_logs
from auditspan.tlog import Checkpoint, NoteError, PublicKey, incarnation_of, open_note, split_origin
from auditspan.verify.finding import Finding, about_size
from auditspan.verify.steps import StoredCheckpoint, Verifier


@dataclass(frozen=True, kw_only=True)
class Witness:
    """The checkpoints of one trail in the collector's files.

    Attributes:
        checkpoints: checkpoints signed by a known key, each once, in the order of the files.
        findings: checkpoints that carry the name of a known key but are not signed by it.
    """

    checkpoints: tuple[Checkpoint, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def sizes(self) -> set[int]:
        """The tree sizes of the checkpoints."""
        return {checkpoint.size for checkpoint in self.checkpoints}


@dataclass(kw_only=True)
class _Gathered:
    keys: Sequence[PublicKey]
    is_only_log: bool
    others: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)
    checkpoints: dict[Checkpoint, None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, note: str) -> None:
        """Add a note; heartbeats and duplicates repeat the same one many times."""
        if note in self.notes:
            return
        if not self._is_ours(note):
            self._report_other_log(note)
            return
        self.notes.add(note)
        try:
            opened = open_note(note, self.keys)
            checkpoint = Checkpoint.parse(opened.text)
        except NoteError as error:
            said = note.partition("\n\n")[0].replace("\n", " ")[:100]
            self.findings.append(_finding(f"a checkpoint in the files ({said}): {error}"))
            return
        self.checkpoints[checkpoint] = None

    def _report_other_log(self, note: str) -> None:
        """Report another log, once for each name, if the files should hold only ours."""
        try:
            name, _ = split_origin(Checkpoint.parse(note.partition("\n\n")[0] + "\n").origin)
        except NoteError:
            return
        if self.is_only_log and name not in self.others:
            self.others.add(name)
            self.findings.append(
                _finding(
                    f"the files hold checkpoints of another log ({ascii(name)[:100]}): the signing "
                    "key was swapped, or the collector serves several trails; pass the public key "
                    "that was noted when the trail was created"
                )
            )

    def _is_ours(self, note: str) -> bool:
        """Return whether the note carries the name of our log; a collector may serve several."""
        origin, _, _ = note.partition("\n")
        name, _, _ = origin.rpartition("/")
        return any(key.name == name for key in self.keys)


def read_witness(
    files: Iterable[Path], keys: Sequence[PublicKey], *, is_only_log: bool = False
) -> Witness:
    """Read the checkpoints in the collector's files that these keys have signed.

    Args:
        files: files of the collector, or directories of them.
        keys: every key that the trail was ever signed with; other logs are ignored.
        is_only_log: report other logs as findings. MUST be set if the keys come from the machine
            that signs: swapping the key there would hide earlier checkpoints.

    Raises:
        CollectorFilesError: the files cannot be read.
    """
    gathered = _Gathered(keys=keys, is_only_log=is_only_log)
    for path in files:
        for entry in read_logs(path):
            if entry.event_name == semconv.EVENT_CHECKPOINT:
                gathered.add(str(entry.body))
    return Witness(checkpoints=tuple(gathered.checkpoints), findings=tuple(gathered.findings))


def check_witness(
    witness: Witness, verifier: Verifier, checkpoints: Sequence[StoredCheckpoint]
) -> Iterator[Finding]:
    """Yield contradictions between the witness and the tables.

    Args:
        witness: the witness; its sizes MUST have been passed to the verifier as `wanted`.
        verifier: the verifier, after it has checked all leaves.
        checkpoints: the checkpoints of the table.
    """
    yield from witness.findings
    if not witness.checkpoints:
        yield _finding("the files hold no checkpoint that is signed by a known key")
    stored = {checkpoint.size: checkpoint.root for checkpoint in checkpoints}
    now = {**stored, **verifier.seen}
    ends = _last_sizes(checkpoints)
    first = verifier.start.size  # leaves before it count as checked
    abandoned = {
        seen
        for seen in witness.checkpoints
        if (seen.size >= first or seen.size in now) and _is_abandoned(seen, ends, now)
    }
    yield from _restored(abandoned, ends)
    followed = [seen for seen in witness.checkpoints if seen not in abandoned]
    size = verifier.tree.size
    beyond = [seen for seen in followed if seen.size > size]
    if beyond:
        yield _lost(max(beyond, key=_by_size), size)
    signed = witness.sizes
    for unsigned in (one.size for one in checkpoints if one.note is None):
        if unsigned in signed:
            yield about_size("note", unsigned, f"the checkpoint of size {unsigned} was signed")
    yield from _compare(
        sorted((seen for seen in followed if seen.size <= size), key=_by_size), stored, now
    )


def _last_sizes(checkpoints: Sequence[StoredCheckpoint]) -> dict[int, int]:
    """Return the last size of every incarnation in the table, oldest incarnation first."""
    return {incarnation_of(point.note): point.size for point in checkpoints}


def _is_abandoned(seen: Checkpoint, ends: Mapping[int, int], now: Mapping[int, bytes]) -> bool:
    """Return whether a later incarnation starts before this checkpoint, with other leaves."""
    incarnation = split_origin(seen.origin)[1]
    is_past = incarnation < max(ends, default=1)
    return is_past and seen.size > _end(ends, incarnation) and now.get(seen.size) != seen.root


def _end(ends: Mapping[int, int], incarnation: int) -> int:
    """Return the size up to which the table belongs to an incarnation."""
    return max((size for own, size in ends.items() if own <= incarnation), default=0)


def _restored(abandoned: Iterable[Checkpoint], ends: Mapping[int, int]) -> Iterator[Finding]:
    """Yield a finding for every incarnation with lost rows, at its largest checkpoint."""
    largest = {seen.origin: seen for seen in sorted(abandoned, key=_by_size)}
    for seen in sorted(largest.values(), key=lambda seen: split_origin(seen.origin)[1]):
        incarnation = split_origin(seen.origin)[1]
        first = _end(ends, incarnation)
        following = min(own for own in ends if own > incarnation)
        detail = (
            f"the witness has seen a checkpoint of size {seen.size} of incarnation {incarnation}, "
            f"but incarnation {following} continues from size {first}: an older backup was "
            f"restored, and the rows sealed from {first} on are lost"
        )
        yield Finding(kind="tail", seq=first, row_id=None, event_id=None, detail=detail)


def _compare(
    witnessed: Sequence[Checkpoint], stored: Mapping[int, bytes], now: Mapping[int, bytes]
) -> Iterator[Finding]:
    """Compare the witnessed roots with the tree at the same sizes, smallest first.

    A tree that differs from its own checkpoint was reported before.
    """
    agreed = 0
    for seen in witnessed:
        if seen.root in {now.get(seen.size), stored.get(seen.size)}:
            agreed = seen.size
            if seen.size not in stored:
                detail = f"the witness has seen a checkpoint of size {seen.size}, which is missing"
                yield about_size("checkpoint", seen.size, detail)
        elif seen.size in now:
            yield _rewritten(seen, agreed)
            return


def _lost(newest: Checkpoint, size: int) -> Finding:
    detail = (
        f"the witness has seen a checkpoint of size {newest.size}, but the table has {size} "
        "leaves: the newest rows were removed, or an older backup was restored"
    )
    return Finding(
        kind="tail" if size else "emptied", seq=size, row_id=None, event_id=None, detail=detail
    )


def _rewritten(seen: Checkpoint, agreed: int) -> Finding:
    detail = (
        f"the witness has seen root {seen.root.hex()} at size {seen.size} ({seen.origin}), but the "
        f"table has another root: rows from {agreed} on are not those that were sealed then"
    )
    return Finding(kind="rewritten", seq=agreed, row_id=None, event_id=None, detail=detail)


def _by_size(checkpoint: Checkpoint) -> int:
    return checkpoint.size


def _finding(detail: str) -> Finding:
    return Finding(kind="witness", seq=None, row_id=None, event_id=None, detail=detail)
