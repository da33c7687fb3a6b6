"""Check of one row with its leaf: steps 2 to 5 of `steps`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from auditspan.errors import AuditBodyError
from auditspan.format import (
    COLUMNS,
    Keyring,
    SealedLeaf,
    copy_id,
    derived_columns,
    matches_columns,
    parse_canonical,
)
from auditspan.storage import Purge
from auditspan.tlog import hash_leaf
from auditspan.verify.finding import Kind

_NO_ADDITION = (
    ": if the trail had no key when the row was written, record that once for all such rows, with "
    "`auditspan keys cover` or `trail.cover_rows_without_mac`; otherwise the row was not "
    "inserted by the application"
)
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, kw_only=True)
class RowCheck:
    """Check of rows, each by itself.

    Attributes:
        keys: one of these must have made the MAC of every row; without keys, step 2 is skipped.
        covered: the number of leaves whose rows may lack a MAC.
        purge: the authorised purge of the most rows, if there is one.
    """

    keys: Keyring = field(default_factory=Keyring)
    covered: int = 0
    purge: Purge | None = None

    def is_whole(self, leaf: SealedLeaf) -> bool:
        """Return True if steps 2 to 5 find nothing; False means that they must be run."""
        _, row_id, event_id, leaf_hash, recorded_at, body, mac, mac_key_id, columns = leaf
        key = self.keys.get(mac_key_id or "")
        if key is None or body is None or mac is None or recorded_at is None:
            return False
        return (
            key.verifies(body, mac)  # 2, 3
            and event_id == columns[0]
            and matches_columns(body, columns)  # 4
            and leaf_hash == hash_leaf(row_id=row_id, recorded_at=recorded_at, mac=mac, body=body)
        )

    def wrong(self, leaf: SealedLeaf) -> Sequence[tuple[Kind, str]]:
        """Run steps 2 to 5, and return what they find."""
        if leaf.body is None or leaf.recorded_at is None:
            return (
                []
                if self.is_purged(leaf)
                else [("missing-row", "the sealed row is not in the table")]
            )
        wrong = self.check_row(leaf, leaf.body)
        if leaf.leaf_hash != hash_leaf(  # 5
            row_id=leaf.row_id, recorded_at=leaf.recorded_at, mac=leaf.mac, body=leaf.body
        ):
            wrong.append(("leaf", "the row differs from the one that was sealed"))
        return wrong

    def check_row(self, leaf: SealedLeaf, body: str) -> list[tuple[Kind, str]]:
        """Check only the row, steps 2 to 4; also for a row that has no leaf yet."""
        wrong: list[tuple[Kind, str]] = []
        is_checked = bool(self.keys) and not self._is_covered(leaf)
        false_mac = self._false_mac(leaf, body) if is_checked else None  # 2
        if false_mac:
            wrong.append(("mac", false_mac))
        members = _parse(body, is_known=is_checked and not false_mac)
        if members is None:  # 3
            wrong.append(("body", "the body is not canonical JSON"))
        elif leaf.columns != (derived := derived_columns(members)):  # 4
            wrong += _differing(leaf.columns, derived)
        if members is not None and leaf.event_id != members.get("event_id"):  # 4
            if leaf.event_id == copy_id(leaf.row_id):  # 8
                wrong.append(("duplicate", "another row had this event id when it was sealed"))
            else:
                wrong.append(("column", "the leaf's event_id differs from the body"))
        return wrong

    def is_purged(self, leaf: SealedLeaf) -> bool:
        """Return whether the row is gone, and the purge authorises that."""
        is_gone = leaf.body is None and leaf.recorded_at is None
        return is_gone and self.purge is not None and 0 <= leaf.seq < self.purge.size

    def _is_covered(self, leaf: SealedLeaf) -> bool:
        """Return whether the row may lack a MAC; a row without a leaf may not."""
        return leaf.mac is None and leaf.mac_key_id is None and 0 <= leaf.seq < self.covered

    def _false_mac(self, leaf: SealedLeaf, body: str) -> str | None:
        key = self.keys.get(leaf.mac_key_id or "")
        if leaf.mac is None and leaf.mac_key_id is None:
            return "the row has no MAC" + ("" if self.covered else _NO_ADDITION)
        if leaf.mac is None or key is None:
            return f"the row has no MAC under the key {' or '.join(self.keys)}"
        return None if key.verifies(body, leaf.mac) else "the MAC does not match the body"


def _differing(stored: Sequence[object], derived: Sequence[object]) -> list[tuple[Kind, str]]:
    pairs = zip(COLUMNS, stored, derived, strict=True)
    return [("column", f"{name} differs from the body") for name, a, b in pairs if a != b]


def _parse(body: str, *, is_known: bool) -> dict[str, Any] | None:
    """Return the members of a body; None if it is not a canonical object."""
    try:
        members = _decode(body)[0] if is_known else parse_canonical(body)
    except (ValueError, RecursionError, AuditBodyError):
        return None
    return members if isinstance(members, dict) else None
