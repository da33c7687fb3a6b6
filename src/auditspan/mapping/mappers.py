"""All mappers of the process, found through SQLAlchemy's public API."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from sqlalchemy import Join, event
from sqlalchemy.orm import Mapper, registry

# Models may be mapped before auditspan is imported, and SQLAlchemy has no list of registries.
_registries: WeakSet[registry] = WeakSet(
    found.registry for found in gc.get_objects() if type(found) is Mapper
)


def all_mappers() -> Iterator[Mapper[Any]]:
    """Return all mappers of the process: base classes first, classes mapped on a join last."""
    found = {mapper for one in _registries for mapper in one.mappers}
    return iter(
        sorted(
            found,
            key=lambda m: (is_on_join(m), len(list(m.iterate_to_root())), m.class_.__qualname__),
        )
    )


def is_on_join(mapper: Mapper[Any]) -> bool:
    """Check whether the base class is mapped on a join, so that other classes own its rows."""
    return isinstance(mapper.base_mapper.local_table, Join)


@event.listens_for(Mapper, "after_mapper_constructed")
def _note(mapper: Mapper[Any], _class: type[object]) -> None:
    _registries.add(mapper.registry)
