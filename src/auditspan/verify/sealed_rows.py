"""The sealed rows of a trail, checked by this process or by several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy import Connection, func, select

from auditspan.storage import AuditTables, erasure_keys_of, sealed_leaves
from auditspan.verify.disclosures import DisclosureCheck
from auditspan.verify.finding import Finding
from auditspan.verify.pieces import Piece, checked_pieces
from auditspan.verify.processes import checking, cores
from auditspan.verify.ranges import RANGE, Checked, Job
from auditspan.verify.row_check import RowCheck
from auditspan.verify.source import source_of

SEVERAL_FROM = 200_000
"""Rows from which several processes are faster, with the time that they take to start."""

Progress: TypeAlias = Callable[[int, int], None]
"""Receives the number of leaves checked since the last call, and the number of all leaves."""


@dataclass(kw_only=True)
class SealedRows:
    """Check of the sealed rows from a sequence number on.

    Attributes:
        connection: the connection to read from.
        tables: the audit tables.
        rows: the check of one row.
        first: the first sequence number.
        processes: how many processes check rows; None for one on each processor if there are many.
        progress: called with the progress of the check.
        disclosures: findings about erasable values; complete after the last piece.
    """

    connection: Connection
    tables: AuditTables
    rows: RowCheck
    first: int = 0
    processes: int | None = 1
    progress: Progress | None = None
    disclosures: list[Finding] = field(default_factory=list)

    @contextmanager
    def pieces(self) -> Iterator[Iterator[Piece]]:
        """Start the processes, and yield the leaves in pieces, in sequence order.

        While the processes start, the caller can do something else.
        """
        first, total = self.first, self._count()
        ranges = [
            range(n, min(n + RANGE, first + total)) for n in range(first, first + total, RANGE)
        ]
        with checking(self._jobs(ranges, total)) as outcomes:
            yield self._counted(self._checked(outcomes, ranges), total)

    def _counted(self, pieces: Iterator[Piece], total: int) -> Iterator[Piece]:
        for piece in pieces:
            if self.progress:
                self.progress(len(piece.hashes), total)
            yield piece

    def _checked(self, outcomes: Iterator[Checked], ranges: list[range]) -> Iterator[Piece]:
        first = self.first
        for outcome, numbers in zip(outcomes, ranges, strict=False):
            self.disclosures += outcome.disclosures
            yield from outcome.pieces
            first = numbers.stop
        check = DisclosureCheck(connection=self.connection, tables=self.tables)
        leaves = sealed_leaves(self.connection, self.tables, first)
        yield from checked_pieces(check.of(leaves), self.rows)
        self.disclosures += check.findings

    def _jobs(self, ranges: list[range], total: int) -> list[Job]:
        """Return a job for each process; none for this process alone."""
        automatic = cores() if total >= SEVERAL_FROM else 1
        count = min(automatic if self.processes is None else self.processes, len(ranges))
        source = source_of(self.connection) if count > 1 else None
        if source is None:
            return []
        metadata = self.tables.event.metadata
        return [
            Job(
                source=source,
                schema=metadata.schema,
                ranges=ranges[number::count],
                covered=self.rows.covered,
                mac_keys=[*self.rows.keys.values()],
                erasure_keys=[*erasure_keys_of(metadata)],
            )
            for number in range(count)
        ]

    def _count(self) -> int:
        leaves = select(func.count()).select_from(self.tables.leaf)
        of_these = leaves.where(self.tables.leaf.c.seq >= self.first)
        return self.connection.execute(of_these).scalar_one()
