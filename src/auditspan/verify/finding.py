"""Findings of verification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "gap",
    "missing-row",
    "body",
    "column",
    "mac",
    "leaf",
    "root",
    "checkpoint",
    "note",
    "emptied",
    "tail",
    "rewritten",
    "witness",
    "duplicate",
    "unsealed",
    "delivery",
    "disclosure",
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One failure of verification."""

    kind: Kind
    seq: int | None
    row_id: int | None
    event_id: str | None
    detail: str


def about_size(kind: Kind, size: int, detail: str) -> Finding:
    """Return a finding about the tree of this size, with the last sequence number in it."""
    return Finding(kind=kind, seq=size - 1, row_id=None, event_id=None, detail=detail)
