"""Audit policies: `__audit__`, read once per mapper."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Table, event
from sqlalchemy.orm import Mapper

from auditspan.errors import AuditConfigError
from auditspan.format import Secrets, is_secret_name, matches_any
from auditspan.mapping.audited_model import AuditedColumn, AuditedModel, Represent
from auditspan.mapping.catalog import home_of
from auditspan.mapping.privacy import Privacy, privacy_of


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Audit policy of one model; all names are column names.

    Attributes:
        include: record only these columns (and the primary key), unredacted even if a name looks
            secret; password hashes are still redacted. None: all columns.
        exclude: never record these columns.
        redact: record these columns as a placeholder with a keyed fingerprint, in addition to those
            whose name or type (`EncryptedType`) looks secret. Members of JSON columns are redacted
            too, by their path (`data.card.number`) and by their names. Password hashes in the usual
            notations are redacted in every column.
        reveal: show these columns, or members of JSON columns, although their names or values look
            secret.
        ignore: write no row for a change to these columns alone.
        represent: functions that return a readable form of a recorded value, by column. It is
            recorded beside the value, in `metadata.readable`. A function that fails leaves the form
            out, and a warning is logged.
        erasable: record the values of these columns so that `trail.erase` can erase them later.
        subject: the type of the subject that they are about, and the column with its id, such as
            `("user", "user_id")`; by default, and where that column is NULL, the row itself.
        name: the target type; by default the class name in snake_case.
    """

    include: Collection[str] | None = None
    exclude: Collection[str] = frozenset()
    redact: Collection[str] = frozenset()
    reveal: Collection[str] = frozenset()
    ignore: Collection[str] = frozenset()
    represent: Mapping[str, Represent] = field(default_factory=dict)
    erasable: Collection[str] = frozenset()
    subject: tuple[str, str] | None = None
    name: str | None = None


@dataclass(frozen=True)
class Exempt:
    """Exemption of a model from auditing, with the reason: `__audit__ = Exempt("a cache")`.

    Raises:
        AuditConfigError: the reason is empty.
    """

    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise AuditConfigError(
                'missing reason for an exemption: write Exempt("why it is not audited")'
            )


_KEY = "auditspan.model"
"""The key of a mapper's `AuditedModel`, with its trail's privacy, in the `info` of its class."""


def audited_model(mapper: Mapper[Any]) -> AuditedModel | None:
    """Return the audited model of this mapper, or None if the model has no `__audit__`.

    Raises:
        AuditConfigError: the policy names a column that the model does not have.
    """
    privacy = privacy_of(mapper.registry.metadata)
    known: tuple[Privacy, AuditedModel | None] | None = mapper.class_manager.info.get(_KEY)
    if known is None or known[0] is not privacy:
        policy = _decision(mapper.class_)
        known = privacy, _read(mapper, policy, privacy) if policy else None
        mapper.class_manager.info[_KEY] = known
    return known[1]


def decided_table(table: Table) -> AuditedModel | None:
    """Return the audited model of a plain table with `info={"audit": True or a Policy}`, or None.

    Raises:
        AuditConfigError: the policy names a column that the table does not have.
    """
    policy = _as_policy(table.info.get("audit"), f"info['audit'] of the table {table.name!r}")
    if policy is None:
        return None
    _require_known_names(table.name, {column.name for column in table.columns}, policy)
    privacy = privacy_of(home_of(table.metadata))
    columns = [
        _column(column, column.key, policy, privacy)
        for column in table.columns
        if _is_wanted(column, policy)
    ]
    _require_open_key(table.name, columns)
    _require_subject(table.name, columns, policy)
    return AuditedModel(
        type=policy.name or table.name,
        columns=tuple(columns),
        primary_key=tuple(column.key for column in table.primary_key),
        version_key=None,
        subject=policy.subject,
    )


@event.listens_for(Mapper, "mapper_configured")
def _check_policy(mapper: Mapper[Any], class_: type[object]) -> None:  # noqa: ARG001
    audited_model(mapper)


def _decision(class_: type[object]) -> Policy | None:
    return _as_policy(getattr(class_, "__audit__", None), f"{class_.__name__}.__audit__")


def _as_policy(decision: object, where: str) -> Policy | None:
    if decision is None or decision is False or isinstance(decision, Exempt):
        return None
    if decision is True:
        return Policy()
    if isinstance(decision, Policy):
        return decision
    raise AuditConfigError(
        f"invalid {where} {decision!r}: expected True, a Policy, Exempt(reason) or False"
    )


def _read(mapper: Mapper[Any], policy: Policy, privacy: Privacy) -> AuditedModel:
    columns = list(_columns(mapper, policy, privacy))
    known = {column.name for column in mapper.columns}
    _require_known_names(mapper.class_.__name__, known, policy)
    _require_open_key(mapper.class_.__name__, columns)
    _require_subject(mapper.class_.__name__, columns, policy)
    version = mapper.version_id_col
    return AuditedModel(
        type=policy.name or _snake_case(mapper.class_.__name__),
        columns=tuple(columns),
        primary_key=tuple(mapper.get_property_by_column(c).key for c in mapper.primary_key),
        version_key=mapper.get_property_by_column(version).key if version is not None else None,
        subject=policy.subject,
    )


def _columns(mapper: Mapper[Any], policy: Policy, privacy: Privacy) -> Iterable[AuditedColumn]:
    for prop in mapper.column_attrs:
        column = prop.columns[0]
        if isinstance(column, Column) and _is_wanted(column, policy):
            yield _column(column, prop.key, policy, privacy)


def _column(column: Column[Any], key: str, policy: Policy, privacy: Privacy) -> AuditedColumn:
    return AuditedColumn(
        name=column.name,
        key=key,
        column=column,
        redacted=_is_redacted(column, policy, privacy),
        secrets=_secrets(column, policy, privacy),
        ignored=column.name in policy.ignore,
        erasable=column.name in policy.erasable,
        represent=policy.represent.get(column.name),
    )


def _is_wanted(column: Column[Any], policy: Policy) -> bool:
    if column.name in policy.exclude:
        return False
    return policy.include is None or column.primary_key or column.name in policy.include


def _is_redacted(column: Column[Any], policy: Policy, privacy: Privacy) -> bool:
    if column.name in policy.redact:
        return True
    if column.name in policy.reveal:
        return False
    if matches_any(column.name, privacy.secrets.patterns):
        return True
    looks_secret = is_secret_name(column.name) or is_secret_name(type(column.type).__name__)
    return policy.include is None and looks_secret


def _secrets(column: Column[Any], policy: Policy, privacy: Privacy) -> Secrets:
    # Every target id contains the primary key, so redacting it would hide nothing.
    own = frozenset({column.name} if column.primary_key else ())
    return Secrets(
        paths=_at_or_below(column.name, policy.redact),
        revealed=own | _at_or_below(column.name, policy.reveal),
        by_name=policy.include is None,
        patterns=privacy.secrets.patterns,
    )


def _at_or_below(name: str, paths: Collection[str]) -> frozenset[str]:
    return frozenset(path for path in paths if path == name or path.startswith(f"{name}."))


def _require_known_names(owner: str, known: Collection[str], policy: Policy) -> None:
    columns = {name.partition(".")[0] for name in (*policy.redact, *policy.reveal)}
    named = {*(policy.include or ()), *policy.exclude, *columns, *policy.ignore, *policy.represent}
    named |= {*policy.erasable, *((policy.subject or ())[1:])}
    for name in sorted(named - set(known)):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(sorted(known))}"
        raise AuditConfigError(
            f"the policy of {owner} names the column {name!r}, but {owner} has no such column{hint}"
        )
    for name in sorted(set(policy.redact) & set(policy.reveal)):
        raise AuditConfigError(
            f"the policy of {owner} names {name!r} both in redact and in reveal: choose one"
        )


def _require_open_key(owner: str, columns: Iterable[AuditedColumn]) -> None:
    """Refuse a secret or erasable primary key: every target id would contain it."""
    for audited in columns:
        if audited.erasable and audited.column.primary_key:
            raise AuditConfigError(
                f"the primary key {audited.name!r} of {owner} cannot be erasable, because every "
                "target id contains it: use another key"
            )
        if audited.redacted and audited.column.primary_key:
            raise AuditConfigError(
                f"the primary key {audited.name!r} of {owner} is redacted or looks like a secret, "
                "and every target id would contain it unredacted: use another key, or declare that "
                "it is not secret with Policy(reveal={...})"
            )


def _require_subject(owner: str, columns: Iterable[AuditedColumn], policy: Policy) -> None:
    """Refuse a subject whose id is not recorded."""
    name = policy.subject[1] if policy.subject else None
    if name is not None and all(audited.name != name for audited in columns):
        raise AuditConfigError(
            f"the policy of {owner} names the subject column {name!r}, which is not recorded: "
            "record it, or name another column"
        )


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
