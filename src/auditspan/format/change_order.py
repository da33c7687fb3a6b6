"""Order of changes, which may differ from the order of the trail's rows.

A change by another program may be recorded after later changes. The record of a staged change has a
`change_id`, which gives the true order. A record without one keeps its place in the sequence: it
follows everything recorded before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def in_change_order(records: Iterable[T], change_id: Callable[[T], int | None]) -> list[T]:
    """Sort records of the trail, given in row order, by when the changes happened.

    Two records that both have a change id are sorted by it; any other two stay in row order, except
    around records that were recorded late.
    """
    newest = 0
    keyed: list[tuple[tuple[int, bool], T]] = []
    for record in records:
        own = change_id(record)
        newest = max(newest, own or 0)
        keyed.append(((newest if own is None else own, own is None), record))
    keyed.sort(key=lambda pair: pair[0])  # stable: equal keys stay in row order
    return [record for _, record in keyed]
