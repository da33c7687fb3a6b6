"""The service's worker, with an engine of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from auditspan.settings import mac_keys
from auditspan.settings import running_worker as running
from auditspan.storage import audit_tables
from auditspan.worker import Worker
from auditspan_service.config import Settings
from auditspan_service.database.engine import make_engine
from auditspan_service.models import Base


@contextmanager
def running_worker(settings: Settings) -> Iterator[Worker]:
    """Run a worker during the block. Its engine is not instrumented, so it makes no spans.

    The signing key is created only for an embedded database.

    Raises:
        KeyFileError: there is no signing key, or a key file cannot be read.
    """
    engine = make_engine(settings.database_url)
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
