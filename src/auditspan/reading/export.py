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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from auditspan.errors import AuditBodyError
from auditspan.format import Json, canonical_json, commitment_of, commitments, parse_canonical
from auditspan.reading.sealed_events import Read, newest_checkpoint, sealed_events
from auditspan.storage import (
    AuditTables,
    EventFilter,
    Purge,
    StoredEvent,
    last_purge,
    purged_tree,
)
from auditspan.tlog import LeafRange, PublicKey, Tree, TreeBuilder, check_checkpoint, hash_leaf

COLUMNS = (
    *("seq", "recorded_at", "event_id", "occurred_at", "action", "outcome", "actor_type"),
    *("actor_id", "actor_label", "target_type", "target_id", "reason", "trace_id", "tx_id"),
    *("changes", "metadata"),
)
"""The columns of a CSV export."""

_FORMULA = re.compile(r"[=+\-@\t\r\n]")
"""The beginnings of cells that a spreadsheet may run as a formula (OWASP)."""


def export_ndjson(read: Read, tables: AuditTables, wanted: EventFilter) -> Iterator[str]:
    """Yield the lines of a verifiable export, each with its newline; the last is the manifest.

    A line has the body, and the disclosures of erasable values that are not erased. An incomplete
    export has no manifest. Check one with `check_export`.

    Raises:
        NotSealedError: nothing is sealed yet.
    """
    checkpoint = newest_checkpoint(read, tables)
    tree, first, last = TreeBuilder(), None, None
    for event in sealed_events(read, tables, wanted, checkpoint.size):
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
    size = newest_checkpoint(read, tables).size
    yield _csv_line(COLUMNS)
    for event in sealed_events(read, tables, wanted, size):
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
            if manifest is None and _has_other_disclosures(members):
                return "a disclosure does not match its event"
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


def _line(event: StoredEvent) -> str:
    """Return one line; a body that is not canonical JSON is a string in it."""
    try:
        parse_canonical(event.body)
        body = event.body
    except AuditBodyError:
        body = json.dumps(event.body)
    readable = sorted(filter(None, event.disclosures.values()))
    disclosures = f',"disclosures":{json.dumps(readable)}' if readable else ""
    return (
        f'{{"body":{body}{disclosures},"mac":{json.dumps(event.mac)}'
        f',"recorded_at":"{event.recorded_at}","row_id":{event.row_id},"seq":{event.seq}}}\n'
    )


def _has_other_disclosures(members: Mapping[str, Any]) -> bool:
    """Return whether a line has disclosures without a commitment in its body."""
    made = {commitment_of(one) for one in members.get("disclosures", ())}
    return bool(made) and not made <= {one.sha256 for one in commitments(members["body"])}


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
