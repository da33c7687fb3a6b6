"""Audit records as a destination holds them."""

from __future__ import annotations

from typing import NamedTuple


class Delivered(NamedTuple):
    """Copy of an audit record in a destination.

    Attributes:
        event_id: the id of the event.
        body: the body of the record; None if the destination did not keep it.
        trail: the name of the trail in the record, if it has one.
    """

    event_id: str
    body: str | None
    trail: str | None = None
