"""Pictures of rows: what is compared to see whether and how a row has changed.

A picture is in the form of a body, may be kept outside of memory, and holds no secret: a redacted
value is replaced by what a body shows of it and a digest by which this process can see a change.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Column, Select, Table

from auditspan.auditedmodel import AuditedColumn
from auditspan.canonical import Json, canonical_json
from auditspan.diff import Changes
from auditspan.mac import MacKey
from auditspan.record import Target
from auditspan.values import as_column_keeps, concealed

_DISGUISE = secrets.token_bytes(32)
"""Makes digests that can be compared in this process and are worth nothing outside of it."""
_SHOWN, _DIGEST = "$shown", "$digest"


class Picture(NamedTuple):
    """One row. Without a type it is of a class that is not audited."""

    type: str | None
    id: str
    version: int | None
    values: dict[str, Json]


Pair = tuple[Picture | None, Picture | None]
"""A row before and after; None where there was or is none."""


@dataclass(frozen=True, kw_only=True)
class RowChange:
    """What became of one target.

    Attributes:
        change_id: the id of its last staged change, which gives the order; None where nothing was
            staged.
        metadata: what else is told of it.
        action: the action; None where it is the type of the target and the verb.
    """

    verb: str
    target: Target
    changes: Changes
    change_id: int | None = None
    metadata: Mapping[str, Json] | None = None
    action: str | None = None


class Subject(Protocol):
    """A table whose rows are told in the trail."""

    @property
    def table(self) -> Table:
        """The table."""

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """The columns that tell one row from another."""

    @property
    def types(self) -> frozenset[str]:
        """The target types under which changes of its rows are told."""

    def select(self) -> Select[Any]:
        """A SELECT of what a picture needs, the key first."""

    def picture(self, row: Sequence[Any], mac_key: MacKey | None) -> Picture:
        """The picture of a row of `select()`."""

    def changes(self, pairs: Iterable[Pair]) -> Iterator[RowChange]:
        """What has changed between the pictures of rows."""


def pictured(column: AuditedColumn, value: Any, mac_key: MacKey | None) -> Json:  # noqa: ANN401
    """One value as a picture holds it."""
    kept = as_column_keeps(column.column, value)
    visible = concealed(column, kept, mac_key)
    if visible == kept:
        return kept
    digest = hmac.new(_DISGUISE, canonical_json(kept).encode(), hashlib.sha256).hexdigest()
    return {_SHOWN: visible, _DIGEST: digest}


def shown(value: Json) -> Json:
    """A pictured value as a body shows it."""
    return value[_SHOWN] if isinstance(value, dict) and _DIGEST in value else value
