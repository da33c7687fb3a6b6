"""What is wrong with a set-up, apart from the database: keys, sink, collector."""

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

from auditspan.errors import SinkError
from auditspan.storage import AuditTables, LockHolder, StoredLease, lock_holder, read_leases
from auditspan_service.collector import config_file
from auditspan_service.config import Settings
from auditspan_service.destinations import Destination
from auditspan_service.doctor.collector_config import CollectorConfigError, check_collector_config
from auditspan_service.errors import KeyFileError
from auditspan_service.files.key_files import load_mac_keys, load_or_create_signing_keys
from auditspan_service.worker import audit_destination, otlp_sink

_COLLECTOR_SECONDS = 5.0
_LOCK_SECONDS = 5.0
_OF_UP = " (`auditspan up` runs a collector of its own; it does not run on this data directory.)"
_MOUNTED_SECRETS = Path("/run/secrets")
"""A container sees its secrets here; their modes are those of another machine, and say nothing."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One thing that is wrong.

    Attributes:
        kind: what it is about.
        detail: what is wrong, and what to do, in sentences.
    """

    kind: str
    detail: str


@dataclass(kw_only=True)
class Examination:
    """What was found, and what could not be looked at.

    Attributes:
        found: what is wrong.
        unchecked: a sentence for each thing that could not be looked at.
        writes_events: whether this process may write audit rows, as far as it is known.
        writes_seals: whether it may seal them.
        workers: the leases that workers hold.
    """

    found: list[Diagnosis] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    writes_events: bool = True
    writes_seals: bool = True
    workers: list[StoredLease] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything was looked at, and nothing is wrong."""
        return not (self.found or self.unchecked)

    def add(self, kind: str, detail: str) -> None:
        """Note something that is wrong."""
        self.found.append(Diagnosis(kind=kind, detail=detail))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        found = [{"kind": one.kind, "detail": one.detail} for one in self.found]
        return {
            "ok": self.ok,
            "findings": found,
            "unchecked": self.unchecked,
            "workers": [_shown(one) for one in self.workers],
        }


def _shown(lease: StoredLease) -> dict[str, Any]:
    return {
        "lease": lease.name,
        "holder": lease.description,
        "current": lease.is_current,
        "age_seconds": round(lease.age, 3) if isfinite(lease.age) else None,
    }


def examine_workers(examination: Examination, connection: Connection, tables: AuditTables) -> None:
    """Look for frozen workers: leases that have expired, and a sealer's lock that stays held."""
    if connection.dialect.name != "postgresql":
        return
    leases = read_leases(connection, tables).values()
    examination.workers += [one for one in leases if not one.is_vacant]
    for lease in examination.workers:
        if not lease.is_current:
            examination.add(
                "lease",
                f"The lease {lease.name} has expired, and no other worker took over: "
                f"{lease.description} is frozen or gone. Start a worker, or restart that one.",
            )
    holder = _lasting_holder(connection, tables)
    if holder:
        examination.add(
            "lock",
            f"Nothing is sealed while {holder.description} holds the sealer's lock, for "
            f"{_LOCK_SECONDS:.0f} seconds at least. End that session if it is not a worker that "
            "is catching up.",
        )


def _lasting_holder(connection: Connection, tables: AuditTables) -> LockHolder | None:
    """The session that holds the sealer's lock in one transaction for a while."""
    first = last = lock_holder(connection, tables)
    deadline = time.monotonic() + _LOCK_SECONDS
    while first and last and last.xid == first.xid:
        if time.monotonic() > deadline:
            return last
        time.sleep(0.25)
        connection.rollback()
        last = lock_holder(connection, tables)
    return None


def examine_keys(examination: Examination, settings: Settings) -> None:
    """The key files that a process with these rights needs: there, whole, and closed to others."""
    mac, signing = settings.mac_key_file, settings.signing_key_file
    if examination.writes_events:
        _examine_key(examination, "mac-key", mac, load_mac_keys)
    if examination.writes_seals:
        load = partial(load_or_create_signing_keys, create=False)
        _examine_key(examination, "signing-key", signing, load)
    elif signing.exists():
        examination.add(
            "signing-key",
            f"The signing key {signing} lies where rows are written: whoever takes over this "
            "process can sign another history. Give it to the worker alone.",
        )


def examine_sink(examination: Examination, settings: Settings) -> None:
    """Where records go when they are announced."""
    if settings.sink == "console":
        examination.add(
            "sink",
            "AUDITSPAN_SINK is console: records are printed and not kept, and nothing can be "
            "reconciled. Use otlp.",
        )
    elif settings.sink == "file" and not settings.is_embedded:
        examination.add(
            "sink",
            "AUDITSPAN_SINK is file: each worker writes on its own machine, where whoever can "
            "change the trail may reach the files too. Use otlp and a collector elsewhere.",
        )
    for name, destination in settings.more_sinks.items():
        _examine_receiver(examination, f"AUDITSPAN_MORE_SINKS, {name}", destination)


def examine_collector_config(
    examination: Examination, settings: Settings, given: Sequence[Path]
) -> None:
    """The way of audit records through the collector; without `given`, through the one of ours."""
    files = tuple(given) or (_default_config(),)
    names = ", ".join(map(str, files))
    try:
        texts = [file.read_text(encoding="utf-8") for file in files]
        sentences = check_collector_config(texts, urlsplit(settings.audit_endpoint).path)
    except (OSError, UnicodeDecodeError, CollectorConfigError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        examination.unchecked.append(
            f"The collector's configuration {names} was not checked: {reason}."
        )
        return
    for sentence in sentences:
        examination.add("collector-config", f"{names}: {sentence}")


def examine_collector(examination: Examination, settings: Settings) -> None:
    """The audit receiver answers as a collector does; it is sent an empty batch."""
    # `up` is what most people have on SQLite, and its collector ends with it.
    hint = _OF_UP if settings.is_embedded else ""
    _examine_receiver(examination, "AUDITSPAN_AUDIT_ENDPOINT", audit_destination(settings), hint)


def _examine_receiver(
    examination: Examination, where: str, destination: Destination, hint: str = ""
) -> None:
    _examine_tls(examination, where, destination)
    sink = otlp_sink(destination, timeout=_COLLECTOR_SECONDS)
    try:
        sink.send([])
    except SinkError as error:
        examination.add(
            "collector",
            f"{where}: {error.message}. Records wait in the table until it takes them.{hint}",
        )
    finally:
        sink.close()


def _examine_tls(examination: Examination, where: str, destination: Destination) -> None:
    """Files that are there, for a URL that makes use of them."""
    named = (destination.certificate, destination.client_certificate, destination.client_key)
    for path in filter(None, named):
        if not path.is_file():
            examination.add("tls", f"{where}: there is no file {path}.")
    if destination.client_key and not destination.client_certificate:
        examination.add("tls", f"{where}: there is a client key and no certificate that it is of.")
    if any(named) and not destination.endpoint.startswith("https://"):
        examination.add(
            "tls",
            f"{where}: there are certificates for it, and its URL begins with http://, so that "
            "records go there unencrypted. Let it begin with https://.",
        )


def _default_config() -> Path:
    here = Path("otel-collector.yaml")
    return here if here.exists() else config_file()


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
            f"The key file {path} is open to others (mode {stat.S_IMODE(mode):04o}): "
            f"`chmod 600 {path}`, and make a new key if somebody may have read it.",
        )
