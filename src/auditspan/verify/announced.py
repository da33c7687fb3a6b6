"""Events that announced committed records, read back from the collector's files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from auditspan.telemetry import semconv
from auditspan.telemetry.otlp import Damage, read_logs, read_spans


def announced_ids(files: Iterable[Path], damage: Damage) -> Iterator[str]:
    """Yield the event ids that events on spans, or among log records, name; possibly repeated.

    An event is emitted only after the commit, so each of these events was once in the table. Not
    every event is announced: spans may be sampled, and of a large transaction, a span names only
    the first events (`span_events.MAX_SPAN_EVENTS`).

    Args:
        files: files of the collector, or directories of them.
        damage: counts unreadable pieces.

    Raises:
        CollectorFilesError: the files cannot be read.
    """
    for path in files:
        yield from _event_ids(path, damage)


def _event_ids(path: Path, damage: Damage) -> Iterator[str]:
    for span in read_spans(path, damage=damage):
        for event in span.events:
            event_id = event.attributes.get(semconv.RECORD_ID)
            if event.name.startswith(semconv.EVENT_PREFIX) and isinstance(event_id, str):
                yield event_id
    # The reader above has counted the damage of all lines whose signal is not known.
    for entry in read_logs(path, damage=Damage()):
        event_id = entry.attributes.get(semconv.RECORD_ID)
        is_delivered = semconv.LOG_RECORD_UID in entry.attributes
        if entry.scope == semconv.SCOPE and not is_delivered and isinstance(event_id, str):
            yield event_id
