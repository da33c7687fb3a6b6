"""Audit bodies read back: those of this release and of earlier ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auditspan.errors import AuditBodyError
from auditspan.format.body import read_event
from auditspan.format.canonical import canonical_json
from unit.test_record import FULL, MINIMAL


@pytest.mark.parametrize("change_id", [None, 1, 2**53 - 1])
def test_body_with_a_change_id_is_read(change_id: int | None) -> None:
    """The member is an integer, or null where no change was staged."""
    members = read_event(MINIMAL._replace(change_id=change_id).body())
    assert change_id == members["change_id"]


def test_body_without_a_change_id_is_read() -> None:
    """Bodies of earlier releases lack the member, and stay valid events of version 1."""
    members = json.loads(FULL.body())
    del members["change_id"]
    assert members == read_event(canonical_json(members))


@pytest.mark.parametrize("change_id", ["1", True, [1], {}], ids=repr)
def test_body_with_another_type_of_change_id_is_refused(change_id: Any) -> None:
    """A value other than an integer or null gives no order."""
    body = canonical_json({**json.loads(FULL.body()), "change_id": change_id})
    with pytest.raises(AuditBodyError, match="change_id"):
        read_event(body)


def test_body_that_lacks_a_member_is_refused() -> None:
    """Every other member of version 1 has always been there."""
    members = json.loads(FULL.body())
    del members["tx_id"]
    with pytest.raises(AuditBodyError, match="tx_id"):
        read_event(canonical_json(members))
