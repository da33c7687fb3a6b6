"""Conversion of captured changes to audit records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from auditspan.capture.open_transaction import Origin
from auditspan.capture.recorder import Recorder
from auditspan.capture.telling import Told
from auditspan.format import AuditRecord


def recorded(
    told: Iterable[Told], recorder: Recorder, tx_id: Callable[[Origin], str]
) -> Iterator[AuditRecord]:
    """Yield a record of each change.

    Raises:
        MissingActorError: no actor is set.
    """
    for origin, change in told:
        yield recorder.record(
            change.action or f"{change.target.type}.{change.verb}",
            tx_id=tx_id(origin),
            surroundings=origin.surroundings,
            target=change.target,
            changes=change.changes,
            reason=origin.unaudited,
            metadata=change.metadata,
            readable=change.readable,
            change_id=change.change_id,
            disclosures=change.disclosures,
        )
