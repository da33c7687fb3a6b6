"""Comparison of the live tables with the objects of a replay."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select

from auditspan.format import Json, shorten
from auditspan.mapping import AuditedColumn, LinkTable, concealed, target_id
from auditspan.reading.replay import (
    PARTIAL,
    Agreement,
    Difference,
    Fields,
    Kind,
    ObjectStore,
    ObjectType,
    as_images,
    is_digest,
    is_stand_in,
    is_zoned,
    link_key,
    link_place,
    shown,
    stored_forms,
)

_CHUNK = 1000


@dataclass(kw_only=True)
class Comparison:
    """Comparison of tables, one after the other.

    Attributes:
        connection: the connection to read from.
        store: the objects and links of the replay; found ones are removed from it.
        agreement: the test for equal values.
        objects: the number of rows compared so far.
    """

    connection: Connection
    store: ObjectStore
    agreement: Agreement
    objects: int = 0

    def compare(self, type_: ObjectType) -> Iterator[Difference]:
        """Yield the differences in the rows of one type."""
        width = len(type_.key_names)
        for row in self._read(type_.rows):
            self.objects += 1
            yield from self._compare_row(type_, target_id(row[:width]), row[width:])

    def compare_links(self, link: LinkTable) -> Iterator[Difference]:
        """Yield the rows of a link table that are not in the trail."""
        width = len(link.parent)
        place = link_place(link.type, link.name)
        for row in self._read(link.select()):
            parent, child = target_id(row[:width]), target_id(row[width:])
            if self.store.pop(place, link_key(parent, child)) is None:
                table = link.table.fullname
                yield Difference(
                    kind="no-history", table=table, key=parent, field=link.name, live=shown(child)
                )

    def missing(
        self, types: Mapping[str, ObjectType], links: Mapping[tuple[str, str], LinkTable]
    ) -> Iterator[Difference]:
        """Yield the objects and links without a row; call this after all comparisons."""
        tables = {link_place(*place): link.table.fullname for place, link in links.items()}
        for name, key, _fields in self.store.remaining():
            if name in types:
                type_ = types[name]
                yield Difference(kind="missing-row", table=type_.table, key=key)
            else:
                relationship = name.partition("\0")[2]
                parent, child = json.loads(key)
                yield Difference(
                    kind="missing-row",
                    table=tables[name],
                    key=parent,
                    field=relationship,
                    recorded=shown(child),
                )

    def _read(self, statement: Select[Any]) -> Iterator[Sequence[Any]]:
        read = stored_forms(statement, self.connection.dialect)
        options = {"yield_per": _CHUNK}
        rows = self.connection.execute(as_images(statement), execution_options=options)
        yield from map(read, rows)

    def _compare_row(
        self, type_: ObjectType, key: str, values: Sequence[Any]
    ) -> Iterator[Difference]:
        fields = self.store.pop(type_.name, key)
        if fields is None:
            yield Difference(kind="no-history", table=type_.table, key=key)
            return
        for column, value in zip(type_.columns, values, strict=True):
            if not column.ignored:
                yield from self._compare_field(column, key, fields, value)

    def _compare_field(
        self, column: AuditedColumn, key: str, fields: Fields, live: Json
    ) -> Iterator[Difference]:
        if column.name not in fields and PARTIAL in fields:
            return
        recorded = fields.get(column.name)
        if self._agree(column, recorded, live):
            return
        hidden = column.redacted or is_stand_in(recorded)
        yield Difference(
            kind=_kind(fields, column.name, live),
            table=column.column.table.fullname,
            key=key,
            field=column.name,
            recorded=shown(concealed(column, recorded, None), hidden=hidden),
            live=shown(concealed(column, live, None), hidden=hidden),
        )

    def _agree(self, column: AuditedColumn, recorded: Json, live: Json) -> bool:
        if self.agreement.holds(column.name, recorded, live, zoned=is_zoned(column), live=True):
            return True
        return (
            is_digest(recorded) and live is not None and self._is_digest_of(column, recorded, live)
        )

    def _is_digest_of(self, column: AuditedColumn, recorded: Json, live: Json) -> bool:
        """Compare with the digest of a long document whose secret members were redacted.

        Their fingerprints, which the digest covers, need a key; without any, nothing can be said.
        """
        keys = self.agreement.keys
        redacted = [concealed(column, live, key) for key in (None, *keys.values())]
        if redacted[0] == live or not is_digest(shorten(redacted[0])):
            return False
        return not keys or any(self.agreement.holds("", recorded, one) for one in redacted)


def _kind(fields: Fields, name: str, live: Json) -> Kind:
    if name not in fields:
        return "no-history"
    return "fingerprint" if is_stand_in(fields[name]) and live is not None else "field"
