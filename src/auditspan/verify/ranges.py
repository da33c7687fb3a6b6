"""Ranges of sequence numbers, which several processes check in turn.

Process n of N checks the ranges n, n + N, n + 2N and so on, and writes what it found to its
standard output, range by range. Pipes hold a few ranges, so no process is far ahead of the reader,
and none needs more memory for a longer trail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, MetaData

from auditspan.format import ErasureKey, Keyring, MacKey
from auditspan.storage import AuditTables, add_erasure_keys, audit_tables, last_purge, sealed_leaves
from auditspan.verify.disclosures import DisclosureCheck
from auditspan.verify.finding import Finding
from auditspan.verify.pieces import Piece, checked_pieces
from auditspan.verify.row_check import RowCheck
from auditspan.verify.source import Source

RANGE = 4096
"""Leaves in a range."""


class Checked(NamedTuple):
    """The outcome of one range."""

    pieces: list[Piece]
    disclosures: list[Finding]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Work of one process: its ranges, and everything needed to check them.

    Attributes:
        source: the database.
        schema: the schema of the audit tables, if it is not the default one.
        ranges: its ranges.
        covered: the number of leaves whose rows may lack a MAC.
        mac_keys: the MAC keys.
        erasure_keys: the erasure keys.
    """

    source: Source
    schema: str | None
    ranges: Sequence[range]
    covered: int
    mac_keys: Sequence[MacKey] = field(repr=False)
    erasure_keys: Sequence[ErasureKey] = field(repr=False)

    def tables(self) -> AuditTables:
        """Return the audit tables."""
        metadata = MetaData(schema=self.schema)
        add_erasure_keys(metadata, self.erasure_keys)
        return audit_tables(metadata)

    def row_check(self, connection: Connection, tables: AuditTables) -> RowCheck:
        """Return the check of its rows, with the purge that its own snapshot has."""
        keys = Keyring(self.mac_keys)
        purge = last_purge(connection, tables, keys)
        return RowCheck(keys=keys, covered=self.covered, purge=purge)


def check_range(
    connection: Connection, tables: AuditTables, rows: RowCheck, numbers: range
) -> Checked:
    """Check the rows with these sequence numbers."""
    disclosures = DisclosureCheck(connection=connection, tables=tables)
    leaves = sealed_leaves(connection, tables, numbers.start, numbers.stop)
    return Checked([*checked_pieces(disclosures.of(leaves), rows)], disclosures.findings)
