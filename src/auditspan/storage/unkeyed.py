"""Rows without a MAC, and the records that cover them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from auditspan.errors import AuditConfigError
from auditspan.format import KEY_ADDED, TARGET, KeyAddition, Keyring, MacKeys, counted
from auditspan.storage.checkpoints import latest_checkpoint
from auditspan.storage.column_forms import IsCounted, StoredText
from auditspan.storage.leaves import sealed_hashes
from auditspan.storage.tables import AuditTables
from auditspan.storage.timeouts import lift_time_limits
from auditspan.tlog import TreeBuilder


@dataclass(frozen=True, kw_only=True)
class CoveredRows:
    """Rows without a MAC that a record covers.

    Attributes:
        rows: the number of these rows.
        size: rows with smaller sequence numbers are covered.
        root: the root of the tree at that size.
        event_id: the id of the record.
    """

    rows: int
    size: int
    root: bytes
    event_id: str = ""

    def to_dict(self) -> dict[str, str | int]:
        """Return the fixed JSON form."""
        return {**asdict(self), "root": self.root.hex()}

    @property
    def statement(self) -> KeyAddition:
        """The statement of the record."""
        return KeyAddition(size=self.size, root=self.root)


def key_additions(connection: Connection, tables: AuditTables, keys: MacKeys) -> list[KeyAddition]:
    """Return the statements of all records that cover rows without a MAC, verified with these keys.

    A record that is not sealed yet counts too: its MAC and its proof are sufficient.
    """
    event, keyring = tables.event.c, Keyring(keys)
    statement = select(*map(StoredText, (event.body, event.mac, event.mac_key_id))).where(
        event.target_type == TARGET[0],  # by the index of targets
        event.target_id == TARGET[1],
        event.action == KEY_ADDED,
    )
    found = [
        KeyAddition.read(body, mac, keyring[key_id])
        for body, mac, key_id in connection.execute(statement)
        if body and mac and key_id in keyring
    ]
    return [one for one in found if one]


def find_uncovered(
    connection: Connection, tables: AuditTables, keys: MacKeys, *, later: bool
) -> CoveredRows | None:
    """Return the sealed rows without a MAC that no record covers yet; None if there are none.

    Args:
        connection: the connection to read from.
        tables: the audit tables.
        keys: all MAC keys of the trail.
        later: include rows that follow a row with a MAC.

    Raises:
        AuditConfigError: some rows without a MAC are not sealed yet, or are excluded because
            `later` is false, or the leaves do not match the root of the last checkpoint.
    """
    lift_time_limits(connection)
    covered = max((one.size for one in key_additions(connection, tables, keys)), default=0)
    _require_sealed(connection, tables)
    size, root = _newest(connection, tables)
    first = _first_with_mac(connection, tables)
    until = size if first is None or later else min(first, size)
    left_out = _count(connection, tables, max(until, covered), size)
    if left_out:
        raise AuditConfigError(_left_out(left_out, max(until, covered)))
    rows = _count(connection, tables, covered, until)
    if not rows:
        return None
    return CoveredRows(rows=rows, size=until, root=_root(connection, tables, until, size, root))


def _left_out(count: int, first: int) -> str:
    return (
        f"{counted(count, 'sealed row')} without a MAC after a row with one, at or after sequence "
        f"number {first}: find out whether a process without the key wrote them or they were "
        "inserted by other means; `auditspan keys cover --later` or "
        "cover_rows_without_mac(later=True) covers them too"
    )


def _require_sealed(connection: Connection, tables: AuditTables) -> None:
    event, leaf = tables.event, tables.leaf
    waiting = event.outerjoin(leaf, leaf.c.row_id == event.c.id)
    statement = select(func.count()).select_from(waiting)
    count = connection.execute(
        statement.where(leaf.c.seq.is_(None), _has_no_mac(tables))
    ).scalar_one()
    if count:
        raise AuditConfigError(
            f"{counted(count, 'row')} without a MAC not sealed yet: give the key to every process "
            "that writes, restart these processes, let the worker seal the rows, and retry"
        )


def _has_no_mac(tables: AuditTables) -> ColumnElement[bool]:
    return tables.event.c.mac.is_(None) & tables.event.c.mac_key_id.is_(None)


def _newest(connection: Connection, tables: AuditTables) -> tuple[int, bytes]:
    found = latest_checkpoint(connection, tables)
    return (found.size, found.root) if found else (0, b"")


def _first_with_mac(connection: Connection, tables: AuditTables) -> int | None:
    event, seq = tables.event.c, tables.leaf.c.seq
    statement = select(func.min(seq)).join(tables.event, event.id == tables.leaf.c.row_id)
    first: int | None = connection.execute(
        statement.where(event.mac.is_not(None), IsCounted(seq))
    ).scalar_one()
    return first


def _count(connection: Connection, tables: AuditTables, first: int, until: int) -> int:
    """Count the rows without a MAC among these leaves."""
    seq = tables.leaf.c.seq
    statement = (
        select(func.count())
        .select_from(tables.leaf)
        .join(tables.event, tables.event.c.id == tables.leaf.c.row_id)
        .where(seq >= first, seq < until, _has_no_mac(tables))
    )
    return connection.execute(statement).scalar_one()


def _root(
    connection: Connection, tables: AuditTables, wanted: int, size: int, expected: bytes
) -> bytes:
    """Return the root at a size, after checking rows and leaves against the last checkpoint."""
    builder, root = TreeBuilder(), b""
    is_whole = True
    with closing(sealed_hashes(connection, tables, 0)) as hashes:
        for stored, hashed in hashes:
            if builder.size == size:
                break
            is_whole = is_whole and stored == hashed
            builder.append(stored)
            if builder.size == wanted:
                root = builder.tree().root
    if not is_whole or builder.size != size or builder.tree().root != expected:
        raise AuditConfigError(
            "the sealed rows do not match the last checkpoint: run `auditspan verify` without a "
            "MAC key, and restore the rows that it reports before covering rows"
        )
    return root
