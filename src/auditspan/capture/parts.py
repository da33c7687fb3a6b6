"""Parts: staged changes, each read as one part of the object that its row belongs to.

An object may have a row in each of several tables (joined inheritance); a `Part` is one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import Column, Dialect
from sqlalchemy.types import TypeEngine

from auditspan.capture.staged_change import StagedChange
from auditspan.format import (
    Changes,
    Json,
    MacKey,
    Number,
    Subject,
    canonical_json,
    canonical_scalar,
    represent,
)
from auditspan.mapping import (
    AuditedColumn,
    AuditedKind,
    AuditedTable,
    Convert,
    Image,
    concealer,
    converter,
    parse_image,
    target_id,
)
from auditspan.storage.dialects import DIALECTS

_ABSENT = object()


class Part(NamedTuple):
    """A change of one row: the images before and after it."""

    reader: PartReader
    change: StagedChange
    old: Image | None
    new: Image | None

    @property
    def last(self) -> Image:
        """The current image of the row, or the last one of a deleted row."""
        found = self.new or self.old
        if found is None:
            raise ValueError("invalid staged change: expected an image")
        return found

    @property
    def verb(self) -> str:
        """The verb of the change: create, update or delete."""
        if self.old is None:
            return "create"
        return "delete" if self.new is None else "update"

    @property
    def changes_class(self) -> bool:
        """True for an update that has made the row one of another class."""
        kind, old, new = self.reader.kind, self.old, self.new
        return old is not None and new is not None and kind(old) is not kind(new)

    def split(self) -> tuple[Part, Part]:
        """Return an update as the end of one object and the beginning of another."""
        return self._replace(new=None), self._replace(old=None)

    @property
    def id(self) -> str:
        """The target id of the object after the change."""
        return self.reader.id(self.last)

    @property
    def old_id(self) -> str:
        """The target id of the object before the change."""
        return self.reader.id(self.old or self.last)

    def subject(self, kind: AuditedKind, side: str) -> Subject | None:
        """Return the subject of the old or new values that the row names, if it does."""
        image = (self.old if side == "old" else self.new) or self.last
        return self.reader.subject(kind, image)


class _Reading(NamedTuple):
    """Reading of a column of one kind of row.

    Attributes:
        name, stored: the names of the column in the body and in the image.
        convert: returns the stored form of a value that is not NULL.
        conceal: redacts it.
    """

    name: str
    stored: str
    convert: Convert
    conceal: Callable[[Json], Json]


@dataclass(frozen=True, kw_only=True, eq=False)
class PartReader:
    """Reader of the images of one audited table in one kind of database."""

    audited: AuditedTable
    dialect: Dialect
    mac_key: MacKey | None

    def read(self, change: StagedChange) -> Part:
        """Read the images of a change."""
        return Part(self, change, self._image(change.old), self._image(change.new))

    def id(self, image: Image) -> str:
        """Return the target id: the primary key in its stored form."""
        return target_id([self._value(column, image) for column in self.audited.key])

    def kind(self, image: Image) -> AuditedKind | None:
        """Return the kind of this row, by its discriminator if the table has one."""
        if not self.audited.is_base:
            return self.audited.default
        return self.kind_of(self.discriminator(image))

    def kind_of(self, discriminator: Json) -> AuditedKind | None:
        """Return the kind of rows with this discriminator, which is given in stored form."""
        return self._kinds.get(canonical_json(discriminator), self.audited.default)

    def discriminator(self, image: Image) -> Json:
        """Return the stored form of the discriminator of a row of the base table."""
        column = self.audited.discriminator
        return None if column is None else self._value(column, image)

    def version(self, kind: AuditedKind, image: Image) -> int | None:
        """Return the version of the row, if the model has a version counter."""
        version = None if kind.version is None else self._value(kind.version, image)
        return version if type(version) is int else None

    def subject(self, kind: AuditedKind, image: Image) -> Subject | None:
        """Return the subject that the row names; None if it names none."""
        if kind.subject is None:
            return None
        type_, column = kind.subject
        id_ = self._value(column, image)
        return None if id_ is None else Subject(type_, target_id([id_]))

    def changes(self, part: Part, kind: AuditedKind) -> Changes:
        """Return the changed columns, with their values redacted as in a body."""
        if part.old is None or part.new is None:
            return self._whole(kind, part.last, "new" if part.old is None else "old")
        return self._updated(kind, part.old, part.new)

    def _whole(self, kind: AuditedKind, image: Image, side: str) -> Changes:
        changes: Changes = {}
        for name, stored, convert, conceal in self._readings(kind):
            raw = image.values.get(stored, _ABSENT)
            if raw is not _ABSENT:
                changes[name] = {side: None if raw is None else conceal(convert(raw))}
            elif stored in image.long:
                changes[name] = {side: conceal(dict(image.long[stored]))}
        return changes

    def _updated(self, kind: AuditedKind, old: Image, new: Image) -> Changes:
        changes: Changes = {}
        for name, stored, convert, conceal in self._readings(kind):
            if _has_changed(stored, old, new):
                before, after = _value(old, stored, convert), _value(new, stored, convert)
                if canonical_scalar(before) != canonical_scalar(after):  # 1 and 1.0 are one float
                    changes[name] = {"old": conceal(before), "new": conceal(after)}
        return changes

    def _readings(self, kind: AuditedKind) -> tuple[_Reading, ...]:
        known = self._known_readings.get(kind)
        if known is None:
            known = self._known_readings[kind] = tuple(map(self._reading, kind.columns))
        return known

    @cached_property
    def _known_readings(self) -> dict[AuditedKind, tuple[_Reading, ...]]:
        return {}

    def _reading(self, audited: AuditedColumn) -> _Reading:
        convert = self._converters[audited.column]
        conceal = concealer(audited, self.mac_key)
        return _Reading(audited.name, audited.column.name, convert, conceal)

    def _value(self, column: Column[Any], image: Image) -> Json:
        return _value(image, column.name, self._converters[column])

    def _image(self, staged: str | bytes | None) -> Image | None:
        return None if staged is None else parse_image(staged, tags=self._is_tagged)

    @cached_property
    def _is_tagged(self) -> bool:
        return DIALECTS.of(self.dialect).IMAGES_ARE_TAGGED

    @cached_property
    def _converters(self) -> dict[Column[Any], Convert]:
        return {column: converter(column.type, self.dialect) for column in self.audited.columns}

    @cached_property
    def _kinds(self) -> dict[str, AuditedKind | None]:
        """The kinds by the canonical text of the stored discriminator."""
        column = self.audited.discriminator
        if column is None:
            return {}
        return {
            canonical_json(bound(column.type, value, self.dialect)): kind
            for value, kind in self.audited.kinds.items()
        }


def bound(type_: TypeEngine[Any], value: Any, dialect: Dialect) -> Json:  # noqa: ANN401
    """Return the stored form of a Python value of this type, as passed to its driver."""
    process = type_.dialect_impl(dialect).bind_processor(dialect)
    return represent(process(value) if process else value)


def _value(image: Image, name: str, convert: Convert) -> Json:
    """Return the stored form of a value; None if the image has none."""
    raw = image.values.get(name)
    if raw is None:
        return dict(image.long[name]) if name in image.long else None
    return convert(raw)


def _has_changed(name: str, old: Image, new: Image) -> bool:
    before, after = old.values.get(name), new.values.get(name)
    if before is not None and after is not None:
        if type(before) is Number is type(after):
            return not str.__eq__(before, after)  # in C, unlike the equality of numbers
        return type(before) is not type(after) or bool(before != after)
    if name in new.same or name in old.same:  # an image has no value for a noted column
        return False
    if name in old.long or name in new.long:
        return old.long.get(name) != new.long.get(name) or name not in old.long
    return before is not after
