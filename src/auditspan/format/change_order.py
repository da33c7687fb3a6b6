"""The order of changes, which is not that of the rows of the trail.

What another program wrote is recorded later than changes that came after it. A record of a staged
change carries its `change_id`, and that order is the true one. A record without one keeps its place
in the sequence: it follows everything that was recorded before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def in_change_order(records: Iterable[T], change_id: Callable[[T], int | None]) -> list[T]:
    """Sort records of the trail, given in the order of its rows, by when the changes happened.

    Two records that both have a change id are in the order of these; any other two are in the order
    of the rows, but for what is recorded late.
    """
    newest = 0
    keyed: list[tuple[tuple[int, bool], T]] = []
    for record in records:
        own = change_id(record)
        newest = max(newest, own or 0)
        keyed.append(((newest if own is None else own, own is None), record))
    keyed.sort(key=lambda pair: pair[0])  # stable: equal ones stay in the order of the rows
    return [record for _, record in keyed]
