"""Parts of audit records that many records share: actor, request and service; and their target."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Literal

from auditspan.errors import AuditBodyError, AuditConfigError
from auditspan.format.canonical import canonical_json, canonical_scalar

ActorType = Literal["user", "service", "system", "anonymous", "unknown", "database"]


@dataclass(frozen=True)
class RecordPart:
    """Part shared by many records; its text is computed once."""

    @cached_property
    def text(self) -> str:
        """The canonical JSON of the fields."""
        return self.text_without(())

    def text_without(self, erasable: Collection[str]) -> str:
        """Return the canonical JSON of the fields, with null in place of the erasable ones.

        Raises:
            AuditBodyError: a field is outside the profile.
        """
        given = {name: getattr(self, name) for name in self._names() if name not in erasable}
        try:
            members = [f'"{name}":{canonical_scalar(given.get(name))}' for name in self._names()]
        except AuditBodyError:
            canonical_json(given)  # its error names the field
            raise
        return f"{{{','.join(members)}}}"

    @classmethod
    def _names(cls) -> Sequence[str]:
        found = _sorted_names.get(cls)
        if found is None:
            found = _sorted_names[cls] = sorted(one.name for one in fields(cls))
        return found


_sorted_names: dict[type[RecordPart], Sequence[str]] = {}


@dataclass(frozen=True, kw_only=True)
class Actor(RecordPart):
    """Actor of a record.

    Anonymous (the caller did not identify itself), system (this program) and unknown (the actor
    was never determined) are different types.
    """

    type: ActorType
    id: str | None = None
    label: str | None = None

    @classmethod
    def user(cls, id: object, *, label: str | None = None) -> Actor:
        """Return the actor for a person, identified by the application's user id.

        Raises:
            AuditConfigError: the id is invalid, like that of a caller who is not logged in.
        """
        if not _identifies(id):
            raise AuditConfigError(
                f"invalid user id (empty text or {type(id).__name__}): pass the primary key of the "
                "user, or use Actor.anonymous() for a caller who is not logged in"
            )
        return cls(type="user", id=str(id), label=label)

    @classmethod
    def service(cls, name: str) -> Actor:
        """Return the actor for another program, identified by its name."""
        return cls(type="service", id=_named(name), label=name)

    @classmethod
    def system(cls, name: str) -> Actor:
        """Return the actor for this program itself: a scheduled job, a migration, a command."""
        return cls(type="system", id=_named(name), label=name)

    @classmethod
    def anonymous(cls) -> Actor:
        """Return the actor for a caller that did not identify itself."""
        return cls(type="anonymous")

    @classmethod
    def unknown(cls) -> Actor:
        """Return the actor for a change whose actor was never determined."""
        return cls(type="unknown")

    @classmethod
    def database(cls, role: str | None) -> Actor:
        """Return the actor for a write outside every trail: the database role, if there is one."""
        return cls(type="database", id=role, label=role)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Object that was acted on, with its version after the action if it has one."""

    type: str
    id: str | None
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Request(RecordPart):
    """HTTP request that caused the event. The route is the template, never the path."""

    id: str | None = None
    client_address: str | None = None
    user_agent: str | None = None
    method: str | None = None
    route: str | None = None


@dataclass(frozen=True, kw_only=True)
class Service(RecordPart):
    """Program that wrote the record; it becomes the resource of the log record.

    Attributes:
        name: `service.name`.
        version: `service.version`.
        instance: `service.instance.id`.
        attributes: the other attributes of its resource, as text; absent from the body if empty.
    """

    name: str
    version: str | None = None
    instance: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def text(self) -> str:
        """The canonical JSON of the fields."""
        names = ("name", "version", "instance", *(("attributes",) if self.attributes else ()))
        return canonical_json({name: getattr(self, name) for name in names})


def _identifies(id_: object) -> bool:
    """Check that the text of this value can identify a user."""
    if id_ is None or isinstance(id_, bool | bytes):
        return False
    return str(id_).strip() not in {"", object.__repr__(id_)}


def _named(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise AuditConfigError(
            "invalid actor name: pass the name of the service or job, as in Actor.system('billing')"
        )
    return name
