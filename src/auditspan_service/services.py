"""What the parts of the service share, put together once per process.

`create_app` builds it for the server; the worker and the commands build it without Flask.
"""

from __future__ import annotations

from dataclasses import dataclass

from auditspan import AuditTrail, MacKey, Service
from auditspan_service.config import Settings
from auditspan_service.database.engine import Database
from auditspan_service.files.key_files import load_mac_keys, load_or_create_mac_key
from auditspan_service.models import Base
from auditspan_service.telemetry.exporters import Exporters
from auditspan_service.telemetry.providers import Telemetry, TelemetryConfig, setup_telemetry


@dataclass(frozen=True, kw_only=True)
class Services:
    """The settings and what has been made of them.

    Attributes:
        mac_keys: those of the trail, the newest first; they sign cursors as well.
    """

    settings: Settings
    database: Database
    trail: AuditTrail
    telemetry: Telemetry
    mac_keys: tuple[MacKey, ...]


def open_services(settings: Settings, telemetry: Telemetry) -> Services:
    """The database under its audit trail. Nothing connects yet.

    The MAC key is made where the database is the embedded one, that is, where nobody else could
    have another. A shared database needs the one key that all its writers have.

    Raises:
        KeyFileError: there is no MAC key, or it cannot be read.
    """
    mac_key = load_or_create_mac_key(settings.mac_key_file, create=settings.is_embedded)
    database = Database.connect(settings.database_url, settings.read_database_url)
    trail = AuditTrail(
        database.sessions,
        metadata=Base.metadata,
        strict=settings.strict,
        service=_service(telemetry),
        mac_key=mac_key,
    )
    return Services(
        settings=settings,
        database=database,
        trail=trail,
        telemetry=telemetry,
        mac_keys=load_mac_keys(settings.mac_key_file),
    )


def silent_telemetry() -> Telemetry:
    """Telemetry that knows who we are and sends nothing; for commands."""
    return setup_telemetry(TelemetryConfig(install_global=False), Exporters())


def _service(telemetry: Telemetry) -> Service:
    named = telemetry.resource.attributes
    version, instance = named.get("service.version"), named.get("service.instance.id")
    return Service(
        name=str(named["service.name"]),
        version=str(version) if version else None,
        instance=str(instance) if instance else None,
    )
