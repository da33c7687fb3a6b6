"""Audit trails in Flask: of the models of Flask-SQLAlchemy, or of any sessions.

Audit(db).init_app(app)                # every model of Flask-SQLAlchemy's `db`
AuditExtension(trail).init_app(app)    # a trail of your own
"""

from __future__ import annotations

from auditspan.flask.audit import Audit
from auditspan.flask.extension import AuditExtension

__all__ = ["Audit", "AuditExtension"]
