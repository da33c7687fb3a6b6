"""Documents about the trail as a whole: checkpoints, proofs and retention."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel

from auditspan_service.api.documents import EXAMPLE_HASH, EXAMPLE_ID, EXAMPLE_TIME, Document


class Checkpoint(Document):
    """Size and root of the trail at one moment; `note` is the signed note (C2SP)."""

    tree_size: int
    root: str
    note: str | None
    created_at: str

    EXAMPLE: ClassVar[Any] = {
        "tree_size": 1235,
        "root": EXAMPLE_HASH,
        "note": f"auditspan/example/1\n1235\n{'A' * 43}=\n\n— auditspan/example {'A' * 91}=\n",
        "created_at": EXAMPLE_TIME,
    }


class Proof(Document):
    """Proof that an event is in the newest checkpoint (RFC 9162).

    Of an event that retention removed, `recorded_at`, `mac` and `body` are null.
    """

    event_id: str
    seq: int
    row_id: int
    recorded_at: str | None
    mac: str | None
    body: str | None
    leaf_hash: str
    inclusion: list[str]
    checkpoint: Checkpoint
    from_size: int | None
    consistency: list[str]

    EXAMPLE: ClassVar[Any] = {
        "event_id": EXAMPLE_ID,
        "seq": 1234,
        "row_id": 1235,
        "recorded_at": EXAMPLE_TIME,
        "mac": EXAMPLE_HASH,
        "body": '{"action":"user.update"}',
        "leaf_hash": EXAMPLE_HASH,
        "inclusion": [EXAMPLE_HASH],
        "checkpoint": Checkpoint.EXAMPLE,
        "from_size": None,
        "consistency": [],
    }


class KeptRows(BaseModel):
    """Something that keeps rows from a sequence number on, although they are old enough."""

    size: int
    reason: str


class RetentionPlan(Document):
    """The rows that a purge could remove, and what keeps the others."""

    before: str
    size: int
    root: str
    rows: int
    kept: list[KeptRows]
    is_authorised: bool

    EXAMPLE: ClassVar[Any] = {
        "before": EXAMPLE_TIME,
        "size": 1234,
        "root": EXAMPLE_HASH,
        "rows": 1234,
        "kept": [{"size": 1300, "reason": f"the legal hold {EXAMPLE_ID}"}],
        "is_authorised": False,
    }


class PurgeAuthorisation(RetentionPlan):
    """The rows that may be removed, or could be if it is a dry run, and what keeps the others."""

    dry_run: bool

    EXAMPLE: ClassVar[Any] = {**RetentionPlan.EXAMPLE, "is_authorised": True, "dry_run": False}
