"""Tables of a trail whose models use several metadatas.

All models of one declarative base belong to the same trail, regardless of the metadata of their
tables: Flask-SQLAlchemy has one for each bind. The trail uses the metadata of the base.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from sqlalchemy import MetaData, Table, event
from sqlalchemy.orm import Mapper

from auditspan.mapping.mappers import all_mappers


@dataclass
class _Homes:
    """Map from each further metadata with tables of a base's models to the base's metadata."""

    by_metadata: WeakKeyDictionary[MetaData, MetaData] = field(default_factory=WeakKeyDictionary)
    is_current: bool = False

    def of(self, metadata: MetaData) -> MetaData:
        if not self.is_current:
            self._read()
        return self.by_metadata.get(metadata, metadata)

    def _read(self) -> None:
        self.by_metadata.clear()
        for mapper in all_mappers():
            home = mapper.registry.metadata
            for table in mapper.tables:
                if isinstance(table, Table) and table.metadata is not home:
                    self.by_metadata[table.metadata] = home
        self.is_current = True


_homes = _Homes()


def home_of(metadata: MetaData) -> MetaData:
    """Return the metadata of the base whose models have tables in this one, or this one."""
    return _homes.of(metadata)


def metadatas_of(metadata: MetaData) -> list[MetaData]:
    """Return this metadata and the others with tables of its base's models."""
    _homes.of(metadata)
    return [metadata, *(other for other, home in _homes.by_metadata.items() if home is metadata)]


def tables_of(metadata: MetaData) -> Iterator[Table]:
    """Yield the tables of a metadata and of the others with tables of its base's models."""
    return (table for one in metadatas_of(metadata) for table in one.tables.values())


def table_named(metadata: MetaData, key: str) -> Table | None:
    """Return the table with this key, from this metadata or else from the others."""
    own = metadata.tables.get(key)
    if own is not None:
        return own
    found = (one.tables[key] for one in metadatas_of(metadata) if key in one.tables)
    return next(found, None)


@event.listens_for(Mapper, "after_mapper_constructed")
def _forget(_mapper: Mapper[object], _class: type[object]) -> None:
    _homes.is_current = False
