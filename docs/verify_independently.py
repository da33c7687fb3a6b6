"""Independent verifier of audit records, written from docs/reference/format.md alone.

    python verify_independently.py --public-key KEY AUDIT.jsonl... [--export EVENTS.jsonl]

AUDIT.jsonl are files written by an OpenTelemetry collector. They contain every event and the
signed checkpoints, so they can be checked on their own: every event is a leaf of a Merkle tree, and
every checkpoint is the signed root of the leaves before it. EVENTS.jsonl, the output of
`auditspan events --json`, is then compared with them. KEY is the output of
`auditspan checkpoint --public-key` when the trail began; if the key was rotated, repeat the option
for each key.

Requires Python 3.11 and the package `cryptography`. Exit code 0: everything matches; 1: something
does not match, or there was nothing to check; 2: the check could not be done.
"""

# ruff: noqa: INP001, T201 (a script, which prints)

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Key: TypeAlias = tuple[str, bytes, Ed25519PublicKey]
Events: TypeAlias = dict[int, dict[str, Any]]


def read_exports(path: str) -> Iterator[dict[str, Any]]:
    """Yield every export in a file of OTLP JSON lines; skip torn ones."""
    opening = '{"resourceLogs"'
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            for piece in line.strip().split(opening)[1:]:
                try:
                    yield json.loads(opening + piece)
                except ValueError:
                    print(f"a piece of {path} is damaged and left out", file=sys.stderr)


def read_records(path: str) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
    """Yield the event name, body, observed time and attributes of every log record in a file."""
    for export in read_exports(path):
        for resource in export["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    attributes = {}
                    for pair in record.get("attributes", []):
                        ((kind, value),) = pair["value"].items()
                        attributes[pair["key"]] = int(value) if kind == "intValue" else value
                    observed = int(record.get("observedTimeUnixNano", 0))
                    body = record["body"]["stringValue"]
                    yield record.get("eventName", ""), body, observed, attributes


def canonical(value: object) -> str:
    """Return the canonical JSON (RFC 8785) of a value with ASCII keys and without fractions."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def timestamp(nanos: int) -> str:
    """Format nanoseconds since 1970 as UTC with six decimals and Z."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanos // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def leaf_hash(row_id: int, recorded_at: str, mac: str | None, body: str) -> bytes:
    """Return the leaf hash of a row: format page, "Leaf"."""
    leaf = {
        "body_sha256": hashlib.sha256(body.encode()).hexdigest(),
        "id": str(row_id),
        "mac": mac,
        "recorded_at": recorded_at,
        "v": 1,
    }
    return hashlib.sha256(b"\x00" + canonical(leaf).encode()).digest()


def roots(leaves: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the root over the first 0, 1, 2 ... leaves: format page, "Tree"."""
    subtrees: list[
        tuple[int, bytes]
    ] = []  # the roots of perfect trees with their sizes, largest first
    yield hashlib.sha256(b"").digest()
    for leaf in leaves:
        size, node = 1, leaf
        while subtrees and subtrees[-1][0] == size:
            node = hashlib.sha256(b"\x01" + subtrees.pop()[1] + node).digest()
            size *= 2
        subtrees.append((size, node))
        root = subtrees[-1][1]
        for _, left in reversed(subtrees[:-1]):
            root = hashlib.sha256(b"\x01" + left + root).digest()
        yield root


def parse_key(text: str) -> Key:
    """Parse the name, key hash and Ed25519 key of a public key: format page, "Checkpoint"."""
    name, key_hash, encoded = text.split("+", 2)
    raw = base64.b64decode(encoded)
    if hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() != key_hash or raw[0] != 1:
        raise ValueError("the public key is damaged")
    return name, bytes.fromhex(key_hash), Ed25519PublicKey.from_public_bytes(raw[1:])


def open_note(note: str, keys: list[Key]) -> tuple[int, bytes] | None:
    """Return the size and root of a checkpoint signed by one of the keys, or None."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        _dash, signer, encoded = line.split(" ")
        blob = base64.b64decode(encoded)
        for name, key_hash, key in keys:
            if (signer, blob[:4]) == (name, key_hash):
                key.verify(blob[4:], text.encode())  # raises InvalidSignature
                origin, size, root = text.splitlines()[:3]
                if origin.rpartition("/")[0] == name:
                    return int(size), base64.b64decode(root)
    return None


def is_ours(attributes: dict[str, Any], keys: list[Key]) -> bool:
    """Return False if a record names another trail: format page, "Log records"."""
    name = attributes.get("audit.trail.name")
    return name is None or name in [name for name, _, _ in keys]


def check(files: list[str], keys: list[Key]) -> tuple[list[str], Events, int]:
    """Return findings in the collector's files, events by sequence number, and checkpoint count."""
    wrong: list[str] = []
    events: Events = {}
    leaves: dict[int, bytes] = {}
    checkpoints: dict[tuple[int, bytes], None] = {}
    for path in files:
        for name, body, observed, attributes in read_records(path):
            if name == "audit.checkpoint":
                try:
                    checkpoint = open_note(body, keys)
                except (InvalidSignature, ValueError):
                    wrong.append(f"a false signature: {body.splitlines()[:2]}")
                    continue
                if checkpoint:
                    checkpoints[checkpoint] = None
            elif "audit.sequence.number" in attributes and is_ours(attributes, keys):
                seq = attributes["audit.sequence.number"]
                recorded_at = timestamp(observed)
                mac = attributes.get("audit.integrity.value")
                leaf = leaf_hash(attributes["audit.row.id"], recorded_at, mac, body)
                if leaves.setdefault(seq, leaf) != leaf:
                    wrong.append(f"sequence number {seq} is there twice, and not the same")
                if canonical(json.loads(body)) != body:
                    wrong.append(f"sequence number {seq} is not canonical JSON")
                events[seq] = {**json.loads(body), "seq": seq, "recorded_at": recorded_at}
    wrong += check_tree(leaves, checkpoints)
    return wrong, events, len(checkpoints)


def check_tree(leaves: dict[int, bytes], checkpoints: dict[tuple[int, bytes], None]) -> list[str]:
    """Check that every checkpoint is the root of the leaves before it; return the findings."""
    newest = max((size for size, _ in checkpoints), default=0)
    if not newest:
        return ["there is no checkpoint that one of the keys has signed"]
    missing = [seq for seq in range(newest) if seq not in leaves]
    if missing:
        return [f"sequence number {seq} is missing" for seq in missing]
    found = list(roots(leaves[seq] for seq in range(newest)))
    wrong = [
        f"the first {size} events are not those that were signed"
        for size, root in sorted(checkpoints)
        if found[size] != root
    ]
    loose = sorted(seq for seq in leaves if seq >= newest)
    if loose:
        print(
            f"{len(loose)} events from {loose[0]} on are under no checkpoint yet", file=sys.stderr
        )
    return wrong


_WITH_DISCLOSURES = "`auditspan export --format ndjson` has what is needed"


def compare(path: str, events: Events) -> Iterator[str]:
    """Yield the differences between an export and the collector's files."""
    unchecked = 0
    with Path(path).open(encoding="utf-8") as file:
        for line in file:
            resource = json.loads(line)
            resource.pop("delivered", None)
            seq = resource.get("seq")
            if "manifest" in resource:
                continue
            if seq is None:
                print(f"event {resource.get('event_id')} is not sealed yet", file=sys.stderr)
                continue
            sealed = events.get(seq, {})
            if "body" in resource:
                yield from compare_body(resource, sealed)
                continue
            unchecked += take_erasable(sealed, resource)
            if canonical(resource) != canonical(sealed):
                yield f"event {resource.get('event_id')} is not what was sealed as {seq}"
    if unchecked:
        print(f"{unchecked} erasable values are not checked: {_WITH_DISCLOSURES}", file=sys.stderr)


def compare_body(line: dict[str, Any], sealed: dict[str, Any]) -> Iterator[str]:
    """Check a line of JSON with a body and the disclosures of its erasable values."""
    body = {name: one for name, one in sealed.items() if name not in {"seq", "recorded_at"}}
    if canonical(line["body"]) != canonical(body) or line["recorded_at"] != sealed["recorded_at"]:
        yield f"event {line['body'].get('event_id')} is not what was sealed as {line['seq']}"
    for disclosure in line.get("disclosures", ()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(disclosure.encode()).digest())
        if digest.rstrip(b"=").decode() not in body.get("erasable", {}):
            yield f"a disclosure does not belong to the event sealed as {line['seq']}"


def take_erasable(sealed: dict[str, Any], shown: dict[str, Any]) -> int:
    """Put the erasable values that a line shows into the sealed event; return their number."""
    entries = sealed.pop("erasable", {})
    for entry in entries.values():
        *way, last = entry["path"]
        place, value = sealed, shown
        for name in way:
            place, value = place[name], value[name]
        place[last] = value[last]
    return len(entries)


def main(arguments: list[str] | None = None) -> int:
    """Check the files, print the findings, and return the exit code."""
    parser = argparse.ArgumentParser(description="Check audit records without auditspan.")
    parser.add_argument("--public-key", action="append", required=True, metavar="KEY")
    parser.add_argument("--export", metavar="EVENTS.jsonl")
    parser.add_argument("files", nargs="+", metavar="AUDIT.jsonl")
    given = parser.parse_args(arguments)
    try:
        keys = [parse_key(text) for text in given.public_key]
        wrong, events, checkpoints = check(given.files, keys)
        if given.export:
            wrong += compare(given.export, events)
    except (OSError, ValueError, KeyError) as error:
        print(f"it could not be checked: {error!r}", file=sys.stderr)
        return 2
    for finding in wrong:
        print(finding)
    print(f"{len(events)} events, {checkpoints} checkpoints: {'NOT ' if wrong else ''}as signed")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
