"""Check of the disclosures of erasable values against the commitments in the bodies.

A disclosure is missing only if an event records the erasure of its subject afterwards. An erasure
waits for transactions that store values of the subject, so that the row of the erasure follows the
rows of all events whose disclosures it removes. Without the erasure key the values are not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import Connection, func, select

from auditspan.errors import AuditBodyError
from auditspan.format import (
    SUBJECT_ERASED,
    Commitment,
    SealedLeaf,
    Subject,
    commitments,
    may_have_commitments,
    read_event,
)
from auditspan.storage import AuditTables, StoredDisclosure, erasure_keys_of, read_disclosures
from auditspan.verify.finding import Finding

_TOGETHER = 200
"""Events whose disclosures are read together."""


@dataclass(kw_only=True)
class DisclosureCheck:
    """Check that takes the leaves on their way to another one.

    Attributes:
        findings: the failures that were found; complete after the last leaf.
    """

    connection: Connection
    tables: AuditTables
    findings: list[Finding] = field(default_factory=list)
    _waiting: list[SealedLeaf] = field(default_factory=list)

    def of(self, leaves: Iterable[SealedLeaf]) -> Iterator[SealedLeaf]:
        """Yield the leaves, and check the disclosures of their events."""
        for leaf in leaves:
            yield leaf
            if leaf.body is not None and may_have_commitments(leaf.body):
                self._waiting.append(leaf)
                if len(self._waiting) == _TOGETHER:
                    self._check()
        self._check()

    def _check(self) -> None:
        ids = [leaf.event_id for leaf in self._waiting]
        stored = read_disclosures(self.connection, self.tables, ids)
        for leaf in self._waiting:
            found = {one.sha256: one for one in stored.get(leaf.event_id, ())}
            self.findings += (_finding(leaf, detail) for detail in self._wrong(leaf, found))
        self._waiting.clear()

    def _wrong(self, leaf: SealedLeaf, found: dict[str, StoredDisclosure]) -> Iterator[str]:
        try:
            known = commitments(read_event(leaf.body or ""))
        except AuditBodyError:
            return  # has a finding of its own
        for one in known:
            problem = self._problem(leaf, one, found.pop(one.sha256, None))
            if problem:
                yield f"the disclosure of {'.'.join(one.path)} {problem}"
        for sha256 in sorted(found):
            yield f"the disclosure {sha256} belongs to no value of the event"

    def _problem(
        self, leaf: SealedLeaf, one: Commitment, stored: StoredDisclosure | None
    ) -> str | None:
        if stored is None:
            is_erased = self._erased.get(one.subject, 0) >= leaf.row_id
            about = f"{one.subject.type} {one.subject.id!r}"
            return None if is_erased else f"is missing, and {about} was not erased since"
        if stored.subject != one.subject:
            return "has another subject than the body"
        is_readable = stored.text is not None or not self._has_keys
        return None if is_readable else "does not match the body, or its key is missing"

    @cached_property
    def _has_keys(self) -> bool:
        return bool(erasure_keys_of(self.tables.event.metadata))

    @cached_property
    def _erased(self) -> dict[Subject, int]:
        """The newest row that records an erasure, by subject; read if a disclosure is missing."""
        event = self.tables.event.c
        newest = select(event.target_type, event.target_id, func.max(event.id)).where(
            event.action == SUBJECT_ERASED
        )
        rows = self.connection.execute(newest.group_by(event.target_type, event.target_id))
        return {Subject(str(type_), str(id_)): newest for type_, id_, newest in rows}


def _finding(leaf: SealedLeaf, detail: str) -> Finding:
    return Finding(
        kind="disclosure",
        seq=leaf.seq,
        row_id=leaf.row_id,
        event_id=leaf.event_id,
        detail=detail,
    )
