"""The service's worker remembers beside its key what it has signed."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import select

from auditspan_service.keyfile import last_signed_file, load_or_create_signing_keys
from auditspan_service.workers import running_worker
from support.service import RunningService, running_service, settings_at


def newest(service: RunningService) -> str | None:
    """The note of the newest checkpoint."""
    point = service.services.trail.tables.checkpoint.c
    with service.services.database.reading() as session:
        return session.scalar(select(point.note).order_by(point.tree_size.desc()).limit(1))


def test_the_worker_remembers_its_newest_note(tmp_path: Path, database_url: str) -> None:
    """The file has the note of the newest checkpoint, whole, and lies where the key lies."""
    settings = settings_at(tmp_path / "data", database_url, sink="file")
    load_or_create_signing_keys(settings.signing_key_file, create=True)
    file = last_signed_file(settings.signing_key_file)
    with running_service(settings) as service, running_worker(settings):
        for username in ("kim", "lee"):
            service.issue("admin", username=username)
            deadline = time.monotonic() + 20
            while not (file.exists() and file.read_text() == newest(service)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
    assert ["mac.key", "signing.key", "signing.key.last"] == sorted(
        one.name for one in file.parent.iterdir()
    )
