"""Personal data that a trail keeps out of its records, for all of its models."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

from sqlalchemy import MetaData

from auditspan.errors import AuditConfigError
from auditspan.format import Request, Secrets

_ERASABLE = ("label", "client_address", "user_agent")

_KEY = "auditspan.privacy"
"""The key in the `info` of a metadata, where the policies of its models and the worker find it."""


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """Personal data that a trail keeps out of its records, for all of its models.

    Attributes:
        redact: names that are redacted everywhere: of columns, of members of JSON columns, and of
            members of metadata. ``*``, ``?`` and ``[...]`` are wildcards; case is ignored. The
            `Policy(reveal)` of a model takes precedence.
        client_address: whether to record the address of the client: of a request, and of the
            database connection for changes by other programs.
        user_agent: whether to record the user agent of a request.
        erasable: members that are recorded so that `trail.erase` can erase them later, with the
            actor as the subject: of ``label`` (of the actor, and of `on_behalf_of`),
            ``client_address`` and ``user_agent``. An actor without an id is the subject ``-``.

    Raises:
        AuditConfigError: `redact` is a single text, or `erasable` names another member.
    """

    redact: Collection[str] = frozenset()
    client_address: bool = True
    user_agent: bool = True
    erasable: Collection[str] = frozenset()

    def __post_init__(self) -> None:
        if isinstance(self.redact, str):
            raise AuditConfigError(
                f"invalid Privacy(redact={self.redact!r}): expected a collection of names, such as "
                f"{{{self.redact!r}}}"
            )
        if isinstance(self.erasable, str) or {*self.erasable} - {*_ERASABLE}:
            raise AuditConfigError(
                f"invalid Privacy(erasable={self.erasable!r}): expected a collection of "
                f"{', '.join(_ERASABLE)}"
            )

    @cached_property
    def secrets(self) -> Secrets:
        """The rules for values outside of columns."""
        return Secrets(patterns=frozenset(name.lower() for name in self.redact))

    def of_request(self, request: Request) -> Request:
        """Return a request without what is not to be recorded."""
        if self.client_address and self.user_agent:
            return request
        return replace(
            request,
            client_address=request.client_address if self.client_address else None,
            user_agent=request.user_agent if self.user_agent else None,
        )

    def __or__(self, other: Privacy) -> Privacy:
        """Return the privacy that keeps out what either does."""
        return Privacy(
            redact=frozenset({*self.redact, *other.redact}),
            client_address=self.client_address and other.client_address,
            user_agent=self.user_agent and other.user_agent,
            erasable=frozenset({*self.erasable, *other.erasable}),
        )


_NONE = Privacy()


def privacy_of(metadata: MetaData) -> Privacy:
    """Return the privacy of the trail over this metadata, the one of its declarative base."""
    found: Privacy = metadata.info.get(_KEY, _NONE)
    return found


def set_privacy(metadata: MetaData, privacy: Privacy) -> None:
    """Replace the privacy of the trail over this metadata."""
    metadata.info[_KEY] = privacy
