"""Reversal of the columns of one change: an object that is changed back, restored or deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import JSON, Column, Dialect, null, select
from sqlalchemy.orm import Mapper, Session, object_session

from auditspan.errors import RevertError
from auditspan.format import Json
from auditspan.reading import Event
from auditspan.reading.replay import Agreement, Fields, ObjectType, is_zoned, with_key_id
from auditspan.reading.states.family import Family
from auditspan.reading.states.live_row import read_live
from auditspan.reading.states.values import Value, is_restorable, key_values, python_value


@dataclass(frozen=True, kw_only=True)
class Reversal:
    """Reversal of one event through a session.

    Attributes:
        event: the event; its target has an id.
        family: the family of its target.
        agreement: compares recorded values with live ones.
        mac_key_id: the key of the fingerprints in the event.
        force: overwrite columns that have changed since.
    """

    session: Session
    event: Event
    family: Family
    agreement: Agreement
    mac_key_id: str | None
    force: bool

    def update(self) -> object:
        """Restore the old values of the changed columns."""
        found = self._require_object()
        self._require_unchanged(self._columns(self.event.new))
        old = self._columns(self.event.old)
        self._assign(found, old)
        self.session.flush()
        self._require_restored(old, self._former_identity(old))
        return found

    def delete(self) -> object:
        """Insert the deleted row again, with its key."""
        if self._live(self.identity) is not None:
            raise RevertError(f"{self.name} was not restored, because a row with its key exists")
        old = self._columns(self.event.old)
        self._require_all(old)
        found: object = self.mapper.class_manager.new_instance()
        self._assign(found, old)
        self.session.add(found)
        self.session.flush()
        self._require_restored(old, self.identity)
        return found

    def create(self) -> None:
        """Delete the created row."""
        found = self._require_object()
        self._require_unchanged(self._columns(self.event.new))
        self.session.delete(found)
        self.session.flush()

    @property
    def type_name(self) -> str:
        """The target type of the event."""
        return self.event.action.rpartition(".")[0]

    @property
    def type(self) -> ObjectType:
        """The type of the object."""
        return self.family.types[self.type_name]

    @property
    def mapper(self) -> Mapper[Any]:
        """The mapper of the object."""
        return self.family.mappers[self.type_name]

    @property
    def name(self) -> str:
        """The object, for messages."""
        return f"{self.type_name} {self.id!r}"

    @property
    def id(self) -> str:
        """The target id of the object after the event."""
        return str(self.event.target.id if self.event.target else None)

    @cached_property
    def identity(self) -> list[Value]:
        """The primary key of the object after the event."""
        return key_values(self.id, self.family.key, self._dialect)

    @property
    def _dialect(self) -> Dialect:
        return self.session.connection(bind_arguments={"mapper": self.mapper}).dialect

    @cached_property
    def _attributes(self) -> dict[str, tuple[str, Column[Any]]]:
        """The attribute and the column of each column name."""
        found: dict[str, tuple[str, Column[Any]]] = {}
        for prop in self.mapper.column_attrs:
            for column in prop.columns:
                if isinstance(column, Column):
                    found.setdefault(column.name, (prop.key, column))
        return found

    def _columns(self, values: Mapping[str, Json]) -> dict[str, Json]:
        """Return the values that a reversal restores: the database and ORM set the others."""
        return {name: value for name, value in values.items() if not self._is_generated(name)}

    def _is_generated(self, name: str) -> bool:
        if name == self.family.version(self.type_name):
            return True
        known = self._attributes.get(name)
        return known is not None and known[1].computed is not None

    def _live(self, identity: list[Value]) -> Fields | None:
        connection = self.session.connection(bind_arguments={"mapper": self.mapper})
        return read_live(connection, self.type, identity)

    def _require_object(self) -> object:
        """Lock and load the object, as it is in the database."""
        key = self.family.key
        pairs = zip(key, self.identity, strict=True)
        locked = select(*key).where(*(column == value for column, value in pairs))
        self.session.execute(locked.with_for_update())
        identity = tuple(self.identity)
        found: object | None = self.session.get(
            self.mapper.class_, identity, populate_existing=True
        )
        if found is None:
            raise RevertError(
                f"{self.event.action} of {self.name} was not undone, because the row does not exist"
            )
        return found

    def _require_unchanged(self, recorded: Mapping[str, Json]) -> None:
        """Refuse to overwrite later changes, unless forced."""
        live = self._live(self.identity) or {}
        changed = sorted(name for name, v in recorded.items() if not self._holds(name, v, live))
        if changed and not self.force:
            raise RevertError(
                f"{self.event.action} of {self.name} was not undone, because {', '.join(changed)} "
                "changed since: undo the later changes first, or pass force=True to overwrite them"
            )

    def _holds(self, name: str, recorded: Json, live: Mapping[str, Json]) -> bool:
        column = next((one for one in self.type.columns if one.name == name), None)
        if column is None or column.ignored:
            return True  # a joined table's own name of the key, or a column that may change unseen
        value = with_key_id(recorded, self.mac_key_id)
        return self.agreement.holds(name, value, live.get(name), zoned=is_zoned(column), live=True)

    def _assign(self, found: object, old: Mapping[str, Json]) -> None:
        values = {name: self._restorable(name, value) for name, value in old.items()}
        for name, value in values.items():
            if name in self._attributes:
                _set(found, *self._attributes[name], value)

    def _restorable(self, name: str, recorded: Json) -> Value:
        """Return the value to restore.

        Raises:
            RevertError: the trail does not have it, or the model no longer has the column.
        """
        column = self._attributes[name][1] if name in self._attributes else None
        value = python_value(recorded, column.type if column is not None else None, self._dialect)
        reason = None
        if not is_restorable(value):
            reason = f"the value of {name} was redacted or too long to record, or is erased"
        elif column is None and value is not None:
            reason = f"the model has no column {name} any more"
        if reason is not None:
            raise RevertError(
                f"{self.event.action} of {self.name} was not undone, because {reason}: change the "
                "object by hand"
            )
        return value

    def _require_all(self, old: Mapping[str, Json]) -> None:
        """Refuse to restore a row without a value for a column that requires one."""
        missing = sorted(column.name for column in self._required() if column.name not in old)
        if missing:
            raise RevertError(
                f"{self.name} was not restored, because the trail has no value of "
                f"{', '.join(missing)}, which must not be null: insert the row by hand"
            )

    def _required(self) -> Iterator[Column[Any]]:
        version = self.family.version(self.type_name)
        for name, (_, column) in self._attributes.items():
            has_value = column.default is not None or column.server_default is not None
            if not (column.nullable or has_value or name == version):
                yield column

    def _former_identity(self, old: Mapping[str, Json]) -> list[Value]:
        """Return the primary key before the event."""
        pairs = zip(self.family.key, self.type.key_names, self.identity, strict=True)
        return [
            python_value(old[name], column.type, self._dialect) if name in old else value
            for column, name, value in pairs
        ]

    def _require_restored(self, old: Mapping[str, Json], identity: list[Value]) -> None:
        """Check that the row holds exactly what was recorded."""
        live = self._live(identity) or {}
        wrong = sorted(name for name, value in old.items() if not self._holds(name, value, live))
        if wrong:
            raise RevertError(
                f"{self.event.action} of {self.name} was not undone, because {', '.join(wrong)} "
                "would not get the recorded value: change the object by hand"
            )


def _set(found: object, attribute: str, column: Column[Any], value: Value) -> None:
    """Set an attribute; None becomes NULL, and neither a default nor the JSON null."""
    has_default = column.default is not None or column.server_default is not None
    is_document = isinstance(column.type, JSON) and column.nullable
    if value is None and (is_document or (has_default and not object_session(found))):
        with suppress(ValueError):  # a mutable type takes no SQL expression
            setattr(found, attribute, null())
            return
    setattr(found, attribute, value)
