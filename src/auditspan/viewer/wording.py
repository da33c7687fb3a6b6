"""Words for actors, targets, actions and states."""

from __future__ import annotations

from typing import Literal, TypeAlias

from auditspan.format import Actor, Target
from auditspan.reading import Event

State: TypeAlias = Literal["committed", "sealed", "delivered"]
Kind: TypeAlias = Literal["create", "update", "delete", "failure", "other"]

_PAST = {"create": "created", "update": "updated", "delete": "deleted"}
_NAMED = 3
"""Columns that a sentence names."""


def verb_of(event: Event) -> str:
    """Return the verb of the action: ``update`` of ``user.update``."""
    return event.action.rpartition(".")[2]


def kind_of(event: Event) -> Kind:
    """Return the kind of event, which determines its colour."""
    if event.outcome == "failure":
        return "failure"
    verb = verb_of(event)
    return verb if verb in _PAST else "other"  # type: ignore[return-value]


def actor_name(actor: Actor) -> str:
    """Return the label of an actor, or else its type and id."""
    if actor.label:
        return actor.label
    return f"{actor.type} {actor.id}" if actor.id else actor.type


def target_name(target: Target | None) -> str:
    """Return the type and id of a target."""
    if target is None:
        return ""
    return f"{target.type} {target.id}" if target.id is not None else target.type


def state_of(event: Event) -> State:
    """Return how far the event has come."""
    if event.seq is None:
        return "committed"
    return "delivered" if event.delivered else "sealed"


def can_be_reverted(event: Event) -> bool:
    """Return whether the event is a change of one object, which the library may undo."""
    names_object = event.target is not None and event.target.id is not None
    is_change = verb_of(event) in _PAST and bool(event.changes) and event.outcome != "failure"
    return names_object and is_change and event.unreadable is None


def sentence_of(event: Event) -> str:
    """Return the event as a sentence."""
    behalf = f", on behalf of {actor_name(event.on_behalf_of)}" if event.on_behalf_of else ""
    return f"{actor_name(event.actor)} {_deed(event)}{behalf}{_columns(event)}."


def _deed(event: Event) -> str:
    past, target = _PAST.get(verb_of(event)), target_name(event.target)
    if past is None or event.target is None or event.outcome != "success":
        on = f" on {target}" if target else ""
        ending = {"success": "", "failure": ", which failed"}.get(
            event.outcome, ", outcome unknown"
        )
        return f"performed {event.action}{on}{ending}"
    return f"{past} {target}"


def _columns(event: Event) -> str:
    names = sorted(event.changes)
    if verb_of(event) != "update" or not names:
        return ""
    shown, more = names[:_NAMED], len(names) - _NAMED
    return f": {', '.join(shown)}" + (f" and {more} more" if more > 0 else "")
