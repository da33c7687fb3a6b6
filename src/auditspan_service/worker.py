"""The service's worker, with an engine of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from auditspan.delivery.worker import Worker
from auditspan.mapping import keep_private
from auditspan.storage import add_erasure_keys, audit_tables
from auditspan.storage.keys import erasure_keys_at
from auditspan.trail.settings import mac_keys
from auditspan.trail.settings import running_worker as running
from auditspan_service.config import Settings
from auditspan_service.database.engine import make_engine
from auditspan_service.models import PRIVACY, Base


@contextmanager
def running_worker(settings: Settings) -> Iterator[Worker]:
    """Run a worker during the block. Its engine is not instrumented, so it makes no spans.

    The signing key is created only for an embedded database.

    Raises:
        KeyFileError: there is no signing key, or a key file cannot be read.
    """
    engine = make_engine(settings.database_url)
    add_erasure_keys(Base.metadata, erasure_keys_at(settings.erasure_key_file))
    keep_private(Base.metadata, PRIVACY | settings.privacy)
    try:
        with running(
            settings,
            engine,
            audit_tables(Base.metadata),
            mac_keys=mac_keys(settings),
            create_keys=settings.is_embedded,
        ) as worker:
            yield worker
    finally:
        engine.dispose()
