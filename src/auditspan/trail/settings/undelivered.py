"""The backlog of each sink, as `/readyz` and `auditspan doctor` report it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from auditspan.delivery import Backlog
from auditspan.trail.settings.settings import TrailSettings
from auditspan.trail.settings.sinks import destinations


def sink_names(settings: TrailSettings) -> tuple[str, ...]:
    """Return the names of the sinks, that of `AUDITSPAN_SINK` first."""
    return (settings.sink, *settings.more_sinks)


def undelivered(backlog: Backlog, settings: TrailSettings) -> dict[str, dict[str, Any]]:
    """Return the backlog of each sink by its name, with its `acknowledgement` if it has one."""
    modes = {name: {"acknowledgement": one.mode} for name, one in destinations(settings).items()}
    return {
        name: {**asdict(each), **modes.get(name, {})} for name, each in backlog.undelivered.items()
    }
