"""The API under an audit trail."""

from __future__ import annotations

from typing import Any

from flask import Flask

from apps.api.auth import current_client
from apps.api.database import sessions
from apps.api.models import Base
from auditspan import Actor, AuditTrail
from auditspan.flask import AuditExtension


def audited(app: Flask, **options: Any) -> AuditTrail:
    """Put the application under a trail; the options are those of `AuditTrail`."""
    trail = AuditTrail(sessions, metadata=Base.metadata, **options)
    AuditExtension(trail, actor=_actor).init_app(app)
    return trail


def _actor() -> Actor:
    client = current_client()
    return Actor.user(client) if client else Actor.anonymous()
