"""Number of database connections by pool and state, observed when metrics are exported.

The instrumentation of SQLAlchemy changes its counter four times for each transaction, under names
of 2023: `db.client.connections.usage` with the attributes `pool.name` and `state`. A counter of the
SDK takes more time for these than the service takes for its own metrics. So they are counted in a
dictionary, which is read for each export, under the names of the current conventions.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.semconv._incubating.attributes import db_attributes
from opentelemetry.semconv._incubating.metrics.db_metrics import DB_CLIENT_CONNECTION_COUNT

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.util.types import AttributeValue


class ConnectionCount:
    """Counts of the connections of all engines that export to one provider."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[AttributeValue, AttributeValue]] = Counter()
        self._lock = threading.Lock()

    def add(self, amount: int, attributes: Mapping[str, AttributeValue]) -> None:
        """Count connections of a pool in a state; called by the instrumentation."""
        with self._lock:
            self._counts[attributes["pool.name"], attributes["state"]] += amount

    def observe(self, _options: CallbackOptions) -> Iterator[Observation]:
        """Yield the numbers of connections."""
        with self._lock:
            counts = [*self._counts.items()]
        for (pool, state), number in counts:
            named = {
                db_attributes.DB_CLIENT_CONNECTION_POOL_NAME: pool,
                db_attributes.DB_CLIENT_CONNECTION_STATE: state,
            }
            yield Observation(number, named)


_by_provider: WeakKeyDictionary[MeterProvider, ConnectionCount] = WeakKeyDictionary()


def connection_count(provider: MeterProvider, meter: Meter) -> ConnectionCount:
    """Return the counts that are exported to this provider, by this meter of it."""
    found = _by_provider.get(provider)
    if found is None:
        found = _by_provider[provider] = ConnectionCount()
        meter.create_observable_up_down_counter(
            DB_CLIENT_CONNECTION_COUNT,
            [found.observe],
            unit="{connection}",
            description="The number of connections that are currently in a state.",
        )
    return found
