"""Checks of the workers, keys, sink and collector of a set-up."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection

from auditspan.delivery import is_loopback
from auditspan.doctor.collector_config import CollectorConfigError, check_collector_config
from auditspan.doctor.models import ModelReview
from auditspan.doctor.raw_writes import RawWrites
from auditspan.errors import KeyFileError, SinkError
from auditspan.keys import load_mac_keys, load_or_create_erasure_keys, load_or_create_signing_keys
from auditspan.settings import Destination, TrailSettings, audit_destination, otlp_sink
from auditspan.storage import AuditTables, LockHolder, StoredLease, lock_holder, read_leases

_COLLECTOR_SECONDS = 5.0
_LOCK_SECONDS = 5.0
_MOUNTED_SECRETS = Path("/run/secrets")
"""The secrets of a container; their modes come from another machine and are not checked."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Problem of the set-up.

    Attributes:
        kind: the subject of the problem.
        detail: the problem and its remedy, in sentences.
    """

    kind: str
    detail: str


@dataclass(kw_only=True)
class Examination:
    """Problems found, and checks that could not be made.

    Attributes:
        found: the problems.
        unchecked: one sentence for each check that could not be made.
        writes_events: whether this process may write audit rows, as far as known.
        writes_seals: whether this process may seal rows.
        workers: the leases that workers hold.
        notes: consequences of deliberate settings, in sentences.
        models: the models of an application.
        raw_writes: writes that the trail does not record, or that have no actor.
        sinks: the backlog of each sink as in `/readyz`, by its name.
        is_embedded: whether the database is a SQLite file.
        has_mac_key: whether the application provides its MAC key itself.
        hint: an addition to the finding that the collector does not answer.
    """

    found: list[Diagnosis] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    writes_events: bool = True
    writes_seals: bool = True
    workers: list[StoredLease] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    models: list[ModelReview] = field(default_factory=list)
    raw_writes: list[RawWrites] = field(default_factory=list)
    sinks: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_embedded: bool = False
    has_mac_key: bool = False
    hint: str = ""

    @property
    def ok(self) -> bool:
        """True if every check was made and no problem was found."""
        return not (self.found or self.unchecked)

    def add(self, kind: str, detail: str) -> None:
        """Add a problem."""
        self.found.append(Diagnosis(kind=kind, detail=detail))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        found = [{"kind": one.kind, "detail": one.detail} for one in self.found]
        return {
            "ok": self.ok,
            "findings": found,
            "unchecked": self.unchecked,
            "workers": [_shown(one) for one in self.workers],
            "notes": self.notes,
            "models": [one.to_dict() for one in self.models],
            "raw_writes": [one.to_dict() for one in self.raw_writes],
            "sinks": self.sinks,
        }


def _shown(lease: StoredLease) -> dict[str, Any]:
    return {
        "lease": lease.name,
        "holder": lease.description,
        "current": lease.is_current,
        "age_seconds": round(lease.age, 3) if isfinite(lease.age) else None,
    }


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
    for name, destination in settings.more_sinks.items():
        _examine_receiver(examination, f"AUDITSPAN_MORE_SINKS, {name}", destination)


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
    """Check that the audit receiver answers an empty batch as a collector does."""
    _examine_receiver(
        examination, "AUDITSPAN_AUDIT_ENDPOINT", audit_destination(settings), examination.hint
    )


def _examine_receiver(
    examination: Examination, where: str, destination: Destination, hint: str = ""
) -> None:
    _examine_tls(examination, where, destination)
    if destination.acknowledgement == "http":
        examination.notes.append(
            f"{where}: acknowledgement is http, so any 2xx answer of {destination.endpoint} "
            "counts as delivered, even of a server that stored nothing. For a collector use strict."
        )
    sink = otlp_sink(destination, timeout=_COLLECTOR_SECONDS)
    try:
        sink.send([])
    except SinkError as error:
        examination.add(
            "collector",
            f"{where}: {error.message}. Records wait in the table until it accepts them.{hint}",
        )
    finally:
        sink.close()


def _examine_tls(examination: Examination, where: str, destination: Destination) -> None:
    """Check that the TLS files exist and that the URL uses TLS."""
    named = (destination.certificate, destination.client_certificate, destination.client_key)
    for path in filter(None, named):
        if not path.is_file():
            examination.add("tls", f"{where}: the file {path} does not exist.")
    if destination.client_key and not destination.client_certificate:
        examination.add("tls", f"{where}: a client key is set without a client certificate.")
    is_open = destination.endpoint.startswith("http://")
    if (
        destination.headers
        and is_open
        and not is_loopback(urlsplit(destination.endpoint).hostname or "")
    ):
        examination.add(
            "headers",
            f"{where}: headers are set, but the URL begins with http://, so credentials in them "
            "are sent unencrypted. Use https://.",
        )
    if any(named) and is_open:
        examination.add(
            "tls",
            f"{where}: certificates are set, but the URL begins with http://, so records are sent "
            "unencrypted. Use https://.",
        )


def _examine_key(
    examination: Examination, kind: str, path: Path, load: Callable[[Path], object]
) -> None:
    try:
        load(path)
    except KeyFileError as error:
        examination.add(kind, error.message)
        return
    mode = path.stat().st_mode
    is_open = mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP)
    if is_open and not path.is_relative_to(_MOUNTED_SECRETS):
        examination.add(
            kind,
            f"The key file {path} is accessible to other users (mode {stat.S_IMODE(mode):04o}): "
            f"run `chmod 600 {path}`, and create a new key if another user may have read it.",
        )
