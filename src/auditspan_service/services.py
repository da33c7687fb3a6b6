"""Shared objects of the service, created once per process.

`create_app` opens them for the server; the worker and the commands open them without Flask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from auditspan import AuditTrail, MacKey
from auditspan.storage import audit_tables
from auditspan.storage.keys import (
    load_mac_keys,
    load_or_create_erasure_keys,
    load_or_create_mac_key,
)
from auditspan.telemetry import service_from_resource
from auditspan.trail.settings import require_first_mac_key
from auditspan_service.config import Settings
from auditspan_service.database.engine import Database
from auditspan_service.models import PRIVACY, Base, utc_now
from auditspan_service.telemetry.exporters import Exporters
from auditspan_service.telemetry.providers import Telemetry, TelemetryConfig, setup_telemetry


@dataclass(frozen=True, kw_only=True)
class Services:
    """Settings and the objects created from them.

    Attributes:
        mac_keys: the MAC keys of the trail, newest first; they also sign cursors.
    """

    settings: Settings
    database: Database
    trail: AuditTrail
    telemetry: Telemetry
    mac_keys: tuple[MacKey, ...]


def open_services(
    settings: Settings, telemetry: Telemetry, *, clock: Callable[[], datetime] = utc_now
) -> Services:
    """Create the database and its audit trail, without connecting yet.

    `clock` sets the times of events. The MAC key and the erasure key are created only for an
    embedded database, which has no other writers. All writers of a shared database need the same
    keys.

    Raises:
        KeyFileError: there is no such key, or it cannot be read; or a new one would replace the key
            of rows that exist.
    """
    database = Database.connect(settings.database_url, settings.read_database_url)
    if settings.is_embedded:
        require_first_mac_key(database.engine, audit_tables(Base.metadata), settings.mac_key_file)
    mac_key = load_or_create_mac_key(settings.mac_key_file, create=settings.is_embedded)
    erasure_keys = load_or_create_erasure_keys(
        settings.erasure_key_file, create=settings.is_embedded
    )
    trail = AuditTrail(
        database.sessions,
        metadata=Base.metadata,
        strict=settings.strict,
        events=settings.events,
        service=service_from_resource(telemetry.resource.attributes),
        mac_key=mac_key,
        erasure_key=erasure_keys,
        privacy=PRIVACY | settings.privacy,
        clock=clock,
    )
    return Services(
        settings=settings,
        database=database,
        trail=trail,
        telemetry=telemetry,
        mac_keys=load_mac_keys(settings.mac_key_file),
    )


def silent_telemetry() -> Telemetry:
    """Create telemetry with this service's resource that exports nothing, for commands."""
    return setup_telemetry(TelemetryConfig(install_global=False), Exporters())
