"""A worker with the keys and sinks of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Engine

from auditspan.delivery.worker import Worker
from auditspan.format import MacKey
from auditspan.seal import LastSignedFile
from auditspan.storage import AuditTables
from auditspan.storage.keys import last_signed_file, load_mac_keys, load_or_create_signing_keys
from auditspan.trail.settings.first_keys import require_first_signing_key
from auditspan.trail.settings.settings import TrailSettings, load_settings
from auditspan.trail.settings.sinks import make_sinks


@contextmanager
def running_worker(
    settings: TrailSettings,
    engine: Engine,
    tables: AuditTables,
    *,
    mac_keys: Sequence[MacKey],
    create_keys: bool,
) -> Iterator[Worker]:
    """Run a worker during the block, and stop it in order.

    Args:
        settings: the key files and the sinks.
        engine: the database of the trail.
        tables: the audit tables.
        mac_keys: the keys that rows may be authenticated with.
        create_keys: whether to create a missing signing key. All workers of a shared database need
            the same one.

    Raises:
        KeyFileError: there is no signing key, or it cannot be read; or a new one would replace the
            key of checkpoints that exist.
    """
    if create_keys:
        require_first_signing_key(engine, tables, settings.signing_key_file)
    signing_keys = load_or_create_signing_keys(settings.signing_key_file, create=create_keys)
    last_signed = last_signed_file(settings.signing_key_file)
    worker = Worker(
        engine,
        tables,
        make_sinks(settings),
        signing_key=signing_keys,
        mac_key=mac_keys,
        last_signed=LastSignedFile(last_signed, log=signing_keys[0].name),
    )
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


@contextmanager
def in_process(
    engine: Engine, tables: AuditTables, mac_key: MacKey | None, settings: TrailSettings | None
) -> Iterator[Worker]:
    """Run the worker of `AuditTrail.worker` during the block."""
    chosen = settings or load_settings(TrailSettings)
    with running_worker(
        chosen,
        engine,
        tables,
        mac_keys=mac_keys(chosen, mac_key),
        create_keys=chosen.is_development(engine),
    ) as worker:
        yield worker


def mac_keys(settings: TrailSettings, own: MacKey | None = None) -> Sequence[MacKey]:
    """Return the trail's own key, and those of the key file if it exists, each once.

    Raises:
        KeyFileError: the file cannot be read.
    """
    path = settings.mac_key_file
    stored = load_mac_keys(path) if path.exists() else ()
    is_stored = own is None or own.key_id in {key.key_id for key in stored}
    return stored if is_stored or own is None else (own, *stored)
