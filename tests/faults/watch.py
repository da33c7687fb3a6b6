"""How long rows take to be sealed and to be acknowledged, seen from outside."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from faults.place import Place

_EVERY_SECONDS = 0.05
_SAMPLE = text(
    """
    SELECT extract(epoch FROM clock_timestamp())::float8,
           (SELECT coalesce(max(tree_size), 0) FROM audit_checkpoint),
           (SELECT coalesce(max(sent_seq), -1) + 1 FROM audit_delivery)
    """
)
_ROWS = text(
    """
    SELECT l.seq, extract(epoch FROM e.recorded_at)::float8
      FROM audit_leaf l JOIN audit_event e ON e.id = l.row_id
     WHERE e.recorded_at >= to_timestamp(:since) ORDER BY l.seq
    """
)


@dataclass(frozen=True, kw_only=True)
class Lags:
    """Seconds from the moment at which the database recorded a row.

    Attributes:
        sealed: until a checkpoint covers it.
        delivered: until the collector has acknowledged it.
    """

    sealed: Sequence[float]
    delivered: Sequence[float]


class Watch:
    """Looks every 50 ms, for the length of a `with` block."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._moments: list[float] = []
        self._sealed: list[int] = []
        self._sent: list[int] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def lags(self) -> Lags:
        """Those of all rows since the watch began; after everything was acknowledged."""
        with self._place.superuser.connect() as connection:
            rows = connection.execute(_ROWS, {"since": self._moments[0]}).all()
        return Lags(
            sealed=[self._when(self._sealed, seq) - at for seq, at in rows],
            delivered=[self._when(self._sent, seq) - at for seq, at in rows],
        )

    def _when(self, counts: Sequence[int], seq: int) -> float:
        """When it was seen first that more rows than `seq` were done."""
        place = bisect_left(counts, seq + 1)
        return self._moments[place] if place < len(counts) else math.inf

    def _run(self) -> None:
        while not self._ending.wait(_EVERY_SECONDS):
            try:
                with self._place.superuser.connect() as connection:
                    moment, sealed, sent = connection.execute(_SAMPLE).one()
            except DBAPIError:
                continue  # it is being restarted
            self._moments.append(moment)
            self._sealed.append(sealed)
            # A relay that goes back takes nothing back that was acknowledged.
            self._sent.append(max([sent, *self._sent[-1:]]))


def p99(values: Sequence[float]) -> float:
    """The value that 99 of 100 do not exceed."""
    assert values, "there is nothing of which that could be said"
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]
