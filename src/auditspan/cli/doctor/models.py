"""Review of an application's models: decisions, and columns that probably need a policy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Column, DateTime, MetaData
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeDecorator, UserDefinedType

from auditspan.mapping import AuditedColumn, Policy, audited_model
from auditspan.reading.replay import mappers
from auditspan.verify import coverage

Remedy = Literal["redact", "ignore"]

_SECRET = re.compile(
    r"(^|_)(hash|digest|salt|pin|otp|totp|cvv|cvc|ssn|iban|pan|passport|biometric|uniquifier|"
    r"signature|recovery_codes?|fingerprint)(_|$)"
)
_RESTLESS = re.compile(
    r"^(last|latest|current)_(seen|active|activity|request|access(ed)?|visit|login|log_in|sign_in|"
    r"used|ping|poll|heartbeat|sync(ed)?)(_|$)"
    r"|^(seen|visited|accessed|touched|refreshed|polled|synced|used)_(at|on)$"
    r"|^(view|hit|visit|login|read|request|access)s?_count(er)?$"
)


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """Column that probably needs attention.

    Attributes:
        column: its name.
        problem: what looks wrong, and the remedy.
        remedy: the member of the policy that the column belongs to, if that helps.
    """

    column: str
    problem: str
    remedy: Remedy | None = None


@dataclass(frozen=True, kw_only=True)
class ModelReview:
    """Decision about one model, and its suspicious columns.

    Attributes:
        model: the class with its module, or the table if there is no model.
        decision: `audited`, `exempt`, or `missing`.
        columns: the suspicious columns.
        policy: the policy to paste into the model; None if none is proposed.
    """

    model: str
    decision: str
    columns: tuple[Suspicion, ...] = ()
    policy: str | None = None


def review_models(metadatas: Iterable[MetaData]) -> list[ModelReview]:
    """Review every model and table of these metadatas.

    The columns are judged by their names and types. The default of a naive column for times is
    called to see whether it returns an aware time.

    Raises:
        AuditConfigError: a decision is invalid, or names a column that does not exist.
    """
    return [review for metadata in metadatas for review in _of(metadata)]


def _of(metadata: MetaData) -> Iterator[ModelReview]:
    found = {_name(mapper): mapper for mapper in mappers(metadata)}
    for decision in coverage(metadata):
        name = decision.model or decision.table
        columns = _suspicions(found[name]) if name in found else ()
        yield ModelReview(
            model=name,
            decision=decision.decision,
            columns=columns,
            policy=_policy(found[name], columns) if any(one.remedy for one in columns) else None,
        )


def _name(mapper: Mapper[Any]) -> str:
    return f"{mapper.class_.__module__}.{mapper.class_.__qualname__}"


def _suspicions(mapper: Mapper[Any]) -> tuple[Suspicion, ...]:
    model, inherited = audited_model(mapper), _inherited(mapper)
    columns = model.columns if model else ()
    return tuple(
        suspicion
        for audited in columns
        if audited.name not in inherited
        for suspicion in _of_column(audited)
    )


def _inherited(mapper: Mapper[Any]) -> set[str]:
    """Return the columns that the review of the parent names."""
    parent = mapper.inherits
    model = audited_model(parent) if parent is not None else None
    return {column.name for column in model.columns} if model else set()


def _of_column(audited: AuditedColumn) -> Iterator[Suspicion]:
    column, name = audited.column, audited.name
    is_shown = audited.redacted or audited.secrets.is_revealed(name)
    if _SECRET.search(name.lower()) and not is_shown:
        yield Suspicion(column=name, problem="may hold a secret: redact it", remedy="redact")
    if _RESTLESS.search(name.lower()) and not audited.ignored:
        problem = "may change with every request: write no record for it alone"
        yield Suspicion(column=name, problem=problem, remedy="ignore")
    if isinstance(column.type, TypeDecorator | UserDefinedType) and not audited.redacted:
        if not type(column.type).__module__.startswith("sqlalchemy."):
            kind = type(column.type).__name__
            problem = f"has the type {kind}: the trail records what the column holds"
            yield Suspicion(column=name, problem=problem)
    elif _stores_aware_times(column):
        problem = "gets aware times, but its type is naive: use DateTime(timezone=True)"
        yield Suspicion(column=name, problem=problem)


def _stores_aware_times(column: Column[Any]) -> bool:
    default: Any = column.default
    if not isinstance(column.type, DateTime) or column.type.timezone or default is None:
        return False
    try:
        value = default.arg(None) if default.is_callable else getattr(default, "arg", None)
    except Exception:  # noqa: BLE001 (the application's own)
        return False
    return isinstance(value, datetime) and value.tzinfo is not None


def _policy(mapper: Mapper[Any], columns: Sequence[Suspicion]) -> str:
    """Return the line that gives the model its present policy and the proposed additions."""
    given = getattr(mapper.class_, "__audit__", None)
    policy = given if isinstance(given, Policy) else Policy()
    redact = {*policy.redact, *(one.column for one in columns if one.remedy == "redact")}
    ignore = {*policy.ignore, *(one.column for one in columns if one.remedy == "ignore")}
    return f"__audit__ = {_shown(replace(policy, redact=redact, ignore=ignore))}"


def _shown(policy: Policy) -> str:
    values = {one.name: getattr(policy, one.name) for one in fields(policy)}
    members = [f"{name}={_literal(value)}" for name, value in values.items() if value]
    return f"Policy({', '.join(members)})"


def _literal(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    names = sorted(value) if isinstance(value, Iterable) else ()
    return "{" + ", ".join(f'"{name}"' for name in names) + "}"
