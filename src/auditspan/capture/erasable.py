"""Disclosures of erasable values: of changed columns, and of an actor and its request."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from auditspan.capture.parts import Part
from auditspan.context import AuditContext
from auditspan.format import (
    SALT_BYTES,
    Actor,
    Changes,
    Disclosure,
    Json,
    Subject,
)
from auditspan.mapping import AuditedKind, Privacy

READABLE = "readable"
"""The member of `metadata` with readable forms of the changed values."""

_NO_ID = "-"
"""The id of the subject where the actor has none."""


def of_changes(
    found: Sequence[tuple[Part, AuditedKind]],
    subject: Subject,
    changes: Changes,
    readable: Mapping[str, Json],
) -> list[Disclosure]:
    """Return the disclosures of one change.

    Args:
        found: the rows of the object.
        subject: the object itself, for rows that name no other subject.
        changes: the changes, as they are to be disclosed.
        readable: the readable forms, which are erasable with their values.
    """
    disclosures: list[Disclosure] = []
    for part, kind in found:
        for column in kind.erasable:
            for side in changes.get(column.name, ()):
                about = part.subject(kind, side) or subject
                place = (column.name, side)
                disclosures += _at(("changes", *place), changes, about)
                disclosures += _at(("metadata", READABLE, *place), readable, about)
    return disclosures


def of_actor(privacy: Privacy, actor: Actor, context: AuditContext) -> Iterator[Disclosure]:
    """Yield the disclosures of the members that the privacy of a trail makes erasable."""
    on_behalf_of, request = context.on_behalf_of, context.request
    label, names = "label" in privacy.erasable, {*privacy.erasable} - {"label"}
    subject = _subject_of(actor)
    if label and actor.label is not None:
        yield disclose(("actor", "label"), subject, actor.label)
    if label and on_behalf_of is not None and on_behalf_of.label is not None:
        path = ("on_behalf_of", "label")
        yield disclose(path, _subject_of(on_behalf_of), on_behalf_of.label)
    for name in sorted(names):
        value = getattr(request, name, None)
        if value is not None:
            yield disclose(("request", name), subject, value)
    if "client_address" in names and actor.type == "database":
        yield from _of_connection(context.metadata, subject)


def disclose(path: Sequence[str], subject: Subject, value: Json) -> Disclosure:
    """Return the disclosure of a value, with a new salt."""
    return Disclosure(path, subject, value, os.urandom(SALT_BYTES))


def _of_connection(metadata: Mapping[str, Json], subject: Subject) -> Iterator[Disclosure]:
    """Yield the disclosure of the address of the database connection, which is in the metadata."""
    if metadata.get("client_address") is not None:
        yield disclose(("metadata", "client_address"), subject, metadata["client_address"])


def _subject_of(actor: Actor) -> Subject:
    return Subject(actor.type, actor.id or _NO_ID)


def _at(path: tuple[str, ...], values: Mapping[str, Json], about: Subject) -> Iterator[Disclosure]:
    """Yield the disclosure of the value whose column and side end this path, unless it is null."""
    sides = values.get(path[-2])
    value = sides.get(path[-1]) if isinstance(sides, dict) else None
    if value is not None:
        yield disclose(path, about, value)
