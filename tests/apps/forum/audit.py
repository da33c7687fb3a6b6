"""The forum under an audit trail."""

from __future__ import annotations

from typing import Any

from flask import Flask

from apps.forum.members import current_user
from apps.forum.models import db
from auditspan import Actor, AuditTrail
from auditspan.flask import AuditExtension


def audited(app: Flask, **options: Any) -> AuditTrail:
    """Put the application under a trail; the options are those of `AuditTrail`."""
    trail = AuditTrail(db.session, metadata=db.metadata, **options)
    AuditExtension(trail, actor=_actor).init_app(app)
    return trail


def _actor() -> Actor:
    user = current_user()
    return Actor.user(user.id, label=user.username) if user else Actor.anonymous()
