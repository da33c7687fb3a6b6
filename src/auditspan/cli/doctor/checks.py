"""Checks of the workers, keys, sink and collector of a set-up."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Connection

from auditspan.cli.doctor.collector_config import CollectorConfigError, check_collector_config
from auditspan.cli.doctor.examination import Examination
from auditspan.cli.doctor.file_mode import is_open
from auditspan.cli.doctor.receivers import examine_receiver
from auditspan.errors import KeyFileError
from auditspan.storage import AuditTables
from auditspan.storage.keys import (
    load_mac_keys,
    load_or_create_erasure_keys,
    load_or_create_signing_keys,
)
from auditspan.storage.locks import LockHolder, lock_holder, read_leases
from auditspan.trail.settings import (
    TrailSettings,
    audit_destination,
    destinations,
    misspelled_variables,
)

_LOCK_SECONDS = 5.0


def examine_workers(examination: Examination, connection: Connection, tables: AuditTables) -> None:
    """Report frozen workers: expired leases, and a sealer's lock that stays held."""
    leases = read_leases(connection, tables).values()
    examination.workers += [one for one in leases if not one.is_vacant]
    for lease in examination.workers:
        if not lease.is_current:
            examination.add(
                "lease",
                f"The lease {lease.name} has expired, and no other worker took over: "
                f"{lease.description} is frozen or has died. Start a worker, or restart that one.",
            )
    holder = _lasting_holder(connection, tables)
    if holder:
        examination.add(
            "lock",
            f"No rows can be sealed: {holder.description} has held the sealer's lock for at least "
            f"{_LOCK_SECONDS:.0f} seconds. End that session unless it is a worker that is catching "
            "up.",
        )


def _lasting_holder(connection: Connection, tables: AuditTables) -> LockHolder | None:
    """Return the session that holds the sealer's lock in one transaction for several seconds."""
    first = last = lock_holder(connection, tables)
    deadline = time.monotonic() + _LOCK_SECONDS
    while first and last and last.xid == first.xid:
        if time.monotonic() > deadline:
            return last
        time.sleep(0.25)
        connection.rollback()
        last = lock_holder(connection, tables)
    return None


def examine_variables(examination: Examination, settings: TrailSettings) -> None:
    """Report variables that are ignored, because their names are misspelled."""
    for name, meant in misspelled_variables(settings).items():
        examination.add(
            "settings", f"{name} is not a setting and is ignored: did you mean {meant}?"
        )


def examine_keys(examination: Examination, settings: TrailSettings) -> None:
    """Check that the key files this process needs exist, are valid and are private."""
    mac, signing = settings.mac_key_file, settings.signing_key_file
    if examination.writes_events and (mac.exists() or not examination.has_mac_key):
        _examine_key(examination, "mac-key", mac, load_mac_keys)
    if settings.erasure_key_file.exists():
        load_erasure = partial(load_or_create_erasure_keys, create=False)
        _examine_key(examination, "erasure-key", settings.erasure_key_file, load_erasure)
    if examination.writes_seals:
        load = partial(load_or_create_signing_keys, create=False)
        _examine_key(examination, "signing-key", signing, load)
    elif signing.exists():
        examination.add(
            "signing-key",
            f"The signing key {signing} is stored where rows are written: an attacker who takes "
            "over this process could sign a forged history. Give the key to the worker only.",
        )


def examine_sink(examination: Examination, settings: TrailSettings) -> None:
    """Check the sinks that records are delivered to."""
    if settings.sink == "console":
        examination.add(
            "sink",
            "AUDITSPAN_SINK is console: records are printed but not stored, so they cannot be "
            "reconciled. Use otlp.",
        )
    elif settings.sink == "file" and not examination.is_embedded:
        examination.add(
            "sink",
            "AUDITSPAN_SINK is file: each worker writes files on its own machine, where an "
            "attacker who can change the trail may change them, too. Use otlp and a collector on "
            "another machine.",
        )
    for name, destination in destinations(settings).items():
        if name in settings.more_sinks:
            examine_receiver(examination, f"AUDITSPAN_MORE_SINKS, {name}", destination)


def examine_collector_config(
    examination: Examination, settings: TrailSettings, given: Sequence[Path]
) -> None:
    """Check the audit pipeline in the configuration files of a collector."""
    names = ", ".join(map(str, given))
    try:
        texts = [file.read_text(encoding="utf-8") for file in given]
        sentences = check_collector_config(texts, urlsplit(settings.audit_endpoint).path)
    except (OSError, UnicodeDecodeError, CollectorConfigError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        examination.unchecked.append(
            f"The collector's configuration {names} was not checked: {reason}."
        )
        return
    for sentence in sentences:
        examination.add("collector-config", f"{names}: {sentence}")


def examine_collector(examination: Examination, settings: TrailSettings) -> None:
    """Check that the audit receiver answers an empty batch as a collector or topic does."""
    examine_receiver(
        examination, "AUDITSPAN_AUDIT_ENDPOINT", audit_destination(settings), examination.hint
    )


def _examine_key(
    examination: Examination, kind: str, path: Path, load: Callable[[Path], object]
) -> None:
    try:
        load(path)
    except KeyFileError as error:
        examination.add(kind, error.message)
        return
    if is_open(path):
        mode = stat.S_IMODE(path.stat().st_mode)
        examination.add(
            kind,
            f"The key file {path} is accessible to other users (mode {mode:04o}): "
            f"run `chmod 600 {path}`, and create a new key if another user may have read it.",
        )
