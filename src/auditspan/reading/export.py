"""Export of events: verifiable JSON lines, and CSV for spreadsheets.

Both hold the sealed events that pass a filter, in sequence order, up to the newest checkpoint. They
are made line by line and read page by page, so that neither memory nor a transaction grows with
them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from auditspan.errors import AuditBodyError, NotSealedError
from auditspan.format import Json, canonical_json, parse_canonical
from auditspan.reading.search import by_id_or_label
from auditspan.storage import (
    AuditTables,
    EventFilter,
    Purge,
    StoredCheckpoint,
    StoredEvent,
    last_purge,
    latest_checkpoint,
    purged_tree,
    sealed_page,
)
from auditspan.tlog import (
    LeafRange,
    PublicKey,
    Tree,
    TreeBuilder,
    check_checkpoint,
    hash_leaf,
)

_T = TypeVar("_T")

COLUMNS = (
    *("seq", "recorded_at", "event_id", "occurred_at", "action", "outcome", "actor_type"),
    *("actor_id", "actor_label", "target_type", "target_id", "reason", "trace_id", "tx_id"),
    *("changes", "metadata"),
)
"""The columns of a CSV export."""

_FORMULA = re.compile(r"[=+\-@\t\r\n]")
"""The beginnings of cells that a spreadsheet may run as a formula (OWASP)."""


class Read(Protocol):
    """Function that runs another one on a connection, a page at a time."""

    def __call__(self, work: Callable[[Connection], _T], /) -> _T:
        """Return the result of `work`."""


def export_ndjson(read: Read, tables: AuditTables, wanted: EventFilter) -> Iterator[str]:
    """Yield the lines of a verifiable export, each with its newline; the last is the manifest.

    An incomplete export has no manifest. Check one with `check_export`.

    Raises:
        NotSealedError: nothing is sealed yet.
    """
    checkpoint = _checkpoint(read, tables)
    tree, first, last = TreeBuilder(), None, None
    for event in _events(read, tables, wanted, checkpoint.size):
        tree.append(_leaf_hash(event.row_id, event.recorded_at, event.mac, event.body))
        first, last = (event.seq if first is None else first), event.seq
        yield _line(event)
    manifest: dict[str, Json] = {
        "v": 1,
        "count": tree.size,
        "first_seq": first,
        "last_seq": last,
        "root": tree.tree().root.hex(),
        "checkpoint": checkpoint.resource(),
    }
    if purge := read(lambda connection: last_purge(connection, tables)):
        manifest["purged"] = read(lambda connection: _purged(connection, tables, purge))
    yield canonical_json({"manifest": manifest}) + "\n"


def export_csv(read: Read, tables: AuditTables, wanted: EventFilter) -> Iterator[str]:
    """Yield the lines of a CSV export (RFC 4180), the first with the names of the columns.

    A cell that a spreadsheet could run as a formula begins with an apostrophe.

    Raises:
        NotSealedError: nothing is sealed yet.
    """
    size = _checkpoint(read, tables).size
    yield _csv_line(COLUMNS)
    for event in _events(read, tables, wanted, size):
        yield _csv_line(_cells(event.resource()))


def check_export(lines: Iterable[str], keys: Sequence[PublicKey]) -> str | None:
    """Check an export of JSON lines; return the problem, or None if it is complete and unchanged.

    An export of the whole trail, or of everything after a purge, is compared with the signed root.
    Otherwise the manifest vouches for the lines; a proof of each event (`prove_event`) leads to the
    signed root.
    """
    tree, leaves, seqs, manifest = TreeBuilder(), LeafRange(0), list[int](), None
    try:
        for line in lines:
            if manifest is not None:
                return "there are lines after the manifest"
            members = json.loads(line)
            manifest = members.get("manifest")
            if manifest is None:
                if not seqs:
                    leaves = LeafRange(members["seq"])
                seqs = [*seqs[:1], members["seq"]]
                tree.append(leaf := _hash_of(members))
                leaves.append(leaf)
        if manifest is None:
            return "the export is incomplete: it has no manifest"
        problem = _check_manifest(manifest, tree, seqs, keys)
        return problem or _check_rest(manifest, leaves)
    except (AttributeError, KeyError, TypeError, ValueError, AuditBodyError) as error:
        return f"the export is malformed ({type(error).__name__})"


def _check_manifest(
    manifest: Mapping[str, Any], tree: TreeBuilder, seqs: Sequence[int], keys: Sequence[PublicKey]
) -> str | None:
    root, checkpoint = tree.tree().root, manifest["checkpoint"]
    said = (manifest["count"], manifest["root"], manifest["first_seq"], manifest["last_seq"])
    ends = (seqs[0], seqs[-1]) if seqs else (None, None)
    if said != (tree.size, root.hex(), *ends):
        return "the lines are not those of the manifest"
    size, signed_root = checkpoint["tree_size"], bytes.fromhex(checkpoint["root"])
    if tree.size == size and root != signed_root:
        return "the lines are not those of the checkpoint"
    return check_checkpoint(checkpoint["note"], size=size, root=signed_root, keys=tuple(keys))


def _check_rest(manifest: Mapping[str, Any], leaves: LeafRange) -> str | None:
    """Compare an export of everything after a purge with the signed root."""
    purged, checkpoint = manifest.get("purged"), manifest["checkpoint"]
    if not purged or manifest["first_seq"] != purged["size"]:
        return None
    if purged["size"] + manifest["count"] != checkpoint["tree_size"]:
        return None
    gone = Tree(purged["size"], tuple(map(bytes.fromhex, purged["frontier"])))
    if leaves.after(gone).root != bytes.fromhex(checkpoint["root"]):
        return "the lines are not those that follow the purged ones in the checkpoint"
    return None


def _purged(connection: Connection, tables: AuditTables, purge: Purge) -> dict[str, Json]:
    """Return what replaces the purged rows: the roots of the subtrees of their leaves."""
    frontier = purged_tree(connection, tables, purge).frontier
    return {**purge.resource(), "frontier": [root.hex() for root in frontier]}


def _checkpoint(read: Read, tables: AuditTables) -> StoredCheckpoint:
    found = read(lambda connection: latest_checkpoint(connection, tables))
    if found is None:
        raise NotSealedError("nothing is sealed yet, so that there is nothing to export")
    return found


def _events(
    read: Read, tables: AuditTables, wanted: EventFilter, size: int
) -> Iterator[StoredEvent]:
    named = read(lambda connection: by_id_or_label(connection, tables, wanted))
    after: int | None = -1
    while after is not None:
        start = after
        page, after = read(
            lambda connection, start=start: sealed_page(  # type: ignore[misc]
                connection, tables, named, after=start, size=size
            )
        )
        yield from page


def _line(event: StoredEvent) -> str:
    """Return one line; a body that is not canonical JSON is a string in it."""
    try:
        parse_canonical(event.body)
        body = event.body
    except AuditBodyError:
        body = json.dumps(event.body)
    return (
        f'{{"body":{body},"mac":{json.dumps(event.mac)},"recorded_at":"{event.recorded_at}"'
        f',"row_id":{event.row_id},"seq":{event.seq}}}\n'
    )


def _hash_of(members: Mapping[str, Any]) -> bytes:
    body = members["body"]
    text = body if isinstance(body, str) else canonical_json(body)
    return _leaf_hash(members["row_id"], members["recorded_at"], members["mac"], text)


def _leaf_hash(row_id: int, recorded_at: str, mac: str | None, body: str) -> bytes:
    return hash_leaf(row_id=row_id, recorded_at=recorded_at, mac=mac, body=body)


def _cells(event: Mapping[str, Any]) -> list[str]:
    actor, target = event["actor"], event["target"] or {}
    values = {
        **event,
        "actor_type": actor["type"],
        "actor_id": actor["id"],
        "actor_label": actor["label"],
        "target_type": target.get("type"),
        "target_id": target.get("id"),
        "changes": canonical_json(event["changes"]),
        "metadata": canonical_json(event["metadata"]),
    }
    return ["" if values[name] is None else str(values[name]) for name in COLUMNS]


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    safe = [f"'{cell}" if _FORMULA.match(cell) else cell for cell in cells]
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(safe)
    return line.getvalue()
