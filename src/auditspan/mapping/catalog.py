"""Which tables a trail is about, where its models are in several metadatas.

The models of one declarative base belong together, whatever metadata their tables are in:
Flask-SQLAlchemy has one for each bind. The trail is over the metadata of that base.
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
    """The metadata of the base, for each other metadata that its models have tables in."""

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
    """The metadata of the base whose models have tables in this one; itself where it has none."""
    return _homes.of(metadata)


def metadatas_of(metadata: MetaData) -> list[MetaData]:
    """This metadata, and the others that models of its base have tables in."""
    _homes.of(metadata)
    return [metadata, *(other for other, home in _homes.by_metadata.items() if home is metadata)]


def tables_of(metadata: MetaData) -> Iterator[Table]:
    """The tables of a metadata and of the others that models of its base have tables in."""
    return (table for one in metadatas_of(metadata) for table in one.tables.values())


def table_named(metadata: MetaData, key: str) -> Table | None:
    """The table with this key, first of this metadata, then of the others."""
    found = (one.tables[key] for one in metadatas_of(metadata) if key in one.tables)
    return next(found, None)


@event.listens_for(Mapper, "after_mapper_constructed")
def _forget(_mapper: Mapper[object], _class: type[object]) -> None:
    _homes.is_current = False
