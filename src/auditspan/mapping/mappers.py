"""Every mapper of the process, found by what SQLAlchemy makes public."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from sqlalchemy import Join, event
from sqlalchemy.orm import Mapper, registry

# A model may have been mapped before auditspan was imported, and SQLAlchemy lists no registries.
_registries: WeakSet[registry] = WeakSet(
    found.registry for found in gc.get_objects() if type(found) is Mapper
)


def all_mappers() -> Iterator[Mapper[Any]]:
    """Every mapper of the process: base classes first, and those that are mapped on a join last."""
    found = {mapper for one in _registries for mapper in one.mappers}
    return iter(
        sorted(
            found,
            key=lambda m: (is_on_join(m), len(list(m.iterate_to_root())), m.class_.__qualname__),
        )
    )


def is_on_join(mapper: Mapper[Any]) -> bool:
    """Whether the base class is mapped on a join, so that its rows are those of other classes."""
    return isinstance(mapper.base_mapper.local_table, Join)


@event.listens_for(Mapper, "after_mapper_constructed")
def _note(mapper: Mapper[Any], _class: type[object]) -> None:
    _registries.add(mapper.registry)
