"""How `auditspan verify --state` tells what the state check found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditspan.verify.state import Difference, StateReport
from auditspan_service.cli.console import say

_SHOWN = 20
_OLDER = {"no-history", "no-create"}


def with_state(verified: Mapping[str, Any], state: StateReport | None) -> dict[str, Any]:
    """The JSON object of `verify`, with that of the state check where it was asked for."""
    if state is None:
        return dict(verified)
    return {**verified, "ok": verified["ok"] and state.ok, "state": state.to_dict()}


def print_state(state: StateReport) -> None:
    """The differences for people, and whether there are any that count."""
    for difference in state.differences[:_SHOWN]:
        say(_line(difference))
    if len(state.differences) > _SHOWN:
        say(f"… and {len(state.differences) - _SHOWN} more")
    counts = state.counts()
    found = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "no difference"
    say(f"{state.objects} objects compared with {state.events} events: {found}")
    if _OLDER & counts.keys():
        say("no-history, no-create: older than the trail, or written past it")
    if state.events == 0:
        say("the trail has no changes, so the tables could not be compared")
    else:
        say("the tables are " + ("" if state.ok else "NOT ") + "what the trail says")


def _line(difference: Difference) -> str:
    place = (difference.table, difference.key, difference.field)
    shown = "  ".join([difference.kind, " ".join(part for part in place if part is not None)])
    if difference.field is None:
        return shown if difference.recorded is None else f"{shown}  {difference.recorded}"
    return f"{shown}  recorded {difference.recorded!r}, live {difference.live!r}"
