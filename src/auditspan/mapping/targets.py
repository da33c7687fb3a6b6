"""Targets of events: from objects and models of the application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper

from auditspan.errors import AuditConfigError
from auditspan.format import Target
from auditspan.mapping.audited_model import AuditedModel
from auditspan.mapping.policy import audited_model
from auditspan.mapping.values import target_id


def as_target(target: object) -> Target | None:
    """Return the target that an audited object is, with its present version.

    Raises:
        AuditConfigError: the object is not audited.
    """
    if target is None or isinstance(target, Target):
        return target
    state = None if isinstance(target, type) else inspect(target, raiseerr=False)
    model = audited_model(state.mapper) if state is not None else None
    if state is None or model is None:
        raise AuditConfigError(
            f"invalid target: {type(target).__name__} is not an audited object: give it "
            "`__audit__`, or pass target=Target(type=..., id=...)"
        )
    version = getattr(target, model.version_key) if model.version_key else None
    return Target(type=model.type, id=target_id(state.identity or ()), version=version)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Primary key of an object, and the attributes that its policy hides.

    Attributes:
        id: the id of the object in the trail; None if it is not a stored, mapped object.
        hidden: the attributes that are redacted or not recorded.
    """

    id: str | None = None
    hidden: frozenset[str] = frozenset()


def identity_of(found: object) -> Identity:
    """Return the identity of an object, without reading the database."""
    state = inspect(found, raiseerr=False)
    if state is None or not getattr(state, "identity", None):
        return Identity()
    model = audited_model(state.mapper)
    shown = {one.key for one in model.columns if not one.redacted} if model else None
    keys = {prop.key for prop in state.mapper.column_attrs}
    hidden = frozenset() if shown is None else frozenset(keys - shown)
    return Identity(id=target_id(state.identity), hidden=hidden)


def target_of(model: object, key: object) -> Target:
    """Return the target with this primary key; a composite key is a tuple.

    Raises:
        AuditConfigError: this is not an audited model.
    """
    identity = key if isinstance(key, tuple) else (key,)
    return Target(type=model_of(model).type, id=target_id(identity))


def model_of(model: object) -> AuditedModel:
    """Return what is audited of a mapped class.

    Raises:
        AuditConfigError: this is not an audited model.
    """
    mapper: Any = inspect(model, raiseerr=False) if isinstance(model, type) else None
    found = audited_model(mapper) if isinstance(mapper, Mapper) else None
    if found is None:
        raise AuditConfigError(
            f"{model!r} is not an audited model: pass a mapped class that has `__audit__`"
        )
    return found
