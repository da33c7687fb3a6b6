"""Audit events for assertions in tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Event(dict[str, Any]):
    """An event resource, with shortcuts for assertions.

    As a dictionary it is complete: the members of the body, `seq`, `recorded_at`, `delivered`.
    """

    @property
    def action(self) -> str:
        """The action, as in ``invoice.update``."""
        return str(self["action"])

    @property
    def by(self) -> str:
        """The actor, as in ``user/7``; ``anonymous`` and ``unknown`` have no id."""
        return _path(self["actor"])

    @property
    def about(self) -> str | None:
        """The target, as in ``invoice/42``; None for an event without a target."""
        return _path(self["target"]) if self["target"] else None

    @property
    def old(self) -> dict[str, Any]:
        """The old values of the changed columns; empty for a create."""
        return self._side("old")

    @property
    def new(self) -> dict[str, Any]:
        """The new values of the changed columns; empty for a delete."""
        return self._side("new")

    def _side(self, side: str) -> dict[str, Any]:
        changes: Mapping[str, Mapping[str, Any]] = self["changes"]
        return {name: change[side] for name, change in changes.items() if side in change}

    def __str__(self) -> str:
        about = f" {self.about}" if self.about else ""
        outcome = "" if self["outcome"] == "success" else f" ({self['outcome']})"
        return f"{self.action}{about} by {self.by}{outcome}"


def _path(thing: Mapping[str, Any]) -> str:
    return str(thing["type"]) if thing["id"] is None else f"{thing['type']}/{thing['id']}"
