"""Changes of link tables, recorded as ids added to and removed from a parent's relationship.

Consecutively staged rows of one link table become one record for each parent. A child that occurs
a second time starts a new record, so that replay keeps the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Dialect

from auditspan.capture.row_change import RowChange
from auditspan.capture.staged_change import StagedChange
from auditspan.format import Json, Target
from auditspan.mapping import Image, LinkTable, converter, parse_image, target_id
from auditspan.storage.dialects import DIALECTS


@dataclass(kw_only=True)
class _Parent:
    """The changes of one parent's relationship."""

    change_id: int = 0
    sides: dict[str, list[Json]] = field(default_factory=dict)

    def has(self, child: Json) -> bool:
        return any(child in ids for ids in self.sides.values())


@dataclass(kw_only=True)
class LinkRun:
    """Consecutively staged rows of one link table, in one context."""

    link: LinkTable
    dialect: Dialect
    _parents: list[tuple[str, _Parent]] = field(default_factory=list)
    _open: dict[str, _Parent] = field(default_factory=dict)

    def add(self, change: StagedChange) -> None:
        """Add a change of one row of the link table."""
        old, new = self._ids(change.old), self._ids(change.new)
        if old != new:
            for side, ids in (("removed", old), ("added", new)):
                if ids is not None:
                    self._note(change.id, side, *ids)

    def changes(self) -> Iterator[RowChange]:
        """Yield one change for each parent, and one more for each repetition of a child."""
        for id_, parent in self._parents:
            yield RowChange(
                verb="update",
                target=Target(type=self.link.type, id=id_),
                changes={
                    self.link.name: {
                        side: sorted(ids, key=str) for side, ids in sorted(parent.sides.items())
                    }
                },
                change_id=parent.change_id,
            )

    def _note(self, change_id: int, side: str, id_: str, child: str) -> None:
        parent = self._open.get(id_)
        if parent is None or parent.has(child):
            parent = self._open[id_] = _Parent()
            self._parents.append((id_, parent))
        parent.change_id = change_id
        parent.sides.setdefault(side, []).append(child)

    def _ids(self, staged: str | bytes | None) -> tuple[str, str] | None:
        """Return the ids of the parent and the child of a row."""
        if staged is None:
            return None
        image = parse_image(staged, tags=DIALECTS.of(self.dialect).IMAGES_ARE_TAGGED)
        return self._id(image, parent=True), self._id(image, parent=False)

    def _id(self, image: Image, *, parent: bool) -> str:
        columns = self.link.parent if parent else self.link.child
        return target_id([converter(c.type, self.dialect)(image.values[c.name]) for c in columns])
