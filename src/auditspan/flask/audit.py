"""An audit trail of every model of Flask-SQLAlchemy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from flask import Flask

from auditspan.errors import AuditConfigError
from auditspan.flask.actors import login_actor
from auditspan.flask.extension import AuditExtension
from auditspan.format import Actor
from auditspan.storage import audit_tables
from auditspan.trail import AuditTrail


class Audit:
    """Audit trail of every model of a Flask-SQLAlchemy `db`, in each of its databases.

    db = SQLAlchemy()
    audit = Audit(db)
    ...
    audit.init_app(app)  # after db.init_app(app)

    Every model is audited unless it says otherwise: `__audit__ = Exempt("a cache")`, or a `Policy`
    that redacts or excludes columns. Create it beside `db`, before the models are used.

    Args:
        db: the `flask_sqlalchemy.SQLAlchemy`.
        actor, worker, viewer, can_view, can_revert: as for `AuditExtension`.
        options: further options of `AuditTrail`.

    Attributes:
        trail: the trail.

    Raises:
        AuditConfigError: the sessions already have a trail, or models are already in use.
    """

    def __init__(
        self,
        db: Any,  # noqa: ANN401 (Flask-SQLAlchemy's)
        *,
        actor: Callable[[], Actor] = login_actor,
        worker: bool = False,
        viewer: str | None = None,
        can_view: Callable[[], bool] | None = None,
        can_revert: Callable[[], bool] | None = None,
        **options: Any,
    ) -> None:
        if not hasattr(db, "Model"):
            raise AuditConfigError(
                "Audit takes the SQLAlchemy object of Flask-SQLAlchemy, as in Audit(db), and not a "
                f"{type(db).__name__}: pass the Flask application to init_app"
            )
        _audit_by_default(db.Model)
        self._db = db
        self.trail = AuditTrail(db.session, metadata=db.metadata, **options)
        self._extension = AuditExtension(
            self.trail,
            actor=actor,
            worker=worker,
            viewer=viewer,
            can_view=can_view,
            can_revert=can_revert,
        )

    def close(self) -> None:
        """Stop the worker in order, if it runs in this process; done when the process ends."""
        self._extension.close()

    def init_app(self, app: Flask) -> None:
        """Add the audit tables of each bind and the extension; see `AuditExtension.init_app`.

        `db.create_all()` creates the tables and triggers, and so do the migrations of Flask-Migrate
        if it has been imported.

        Raises:
            AuditConfigError: `db.init_app(app)` has not been called, a database is unsupported, or
                the application already has an extension.
        """
        if "sqlalchemy" not in app.extensions:
            raise AuditConfigError(
                "the application has no Flask-SQLAlchemy yet: call db.init_app(app) before "
                "audit.init_app(app)"
            )
        for metadata in self._db.metadatas.values():
            audit_tables(metadata)
        with app.app_context():
            for engine in self._db.engines.values():
                self.trail.register_engine(engine)
        self._extension.init_app(app)
        if "flask_migrate" in sys.modules:
            from auditspan.alembic import support_autogenerate  # noqa: PLC0415 (needs Alembic)

            support_autogenerate()


def _audit_by_default(model: Any) -> None:  # noqa: ANN401 (a declarative base)
    if getattr(model, "__audit__", None) is not None:
        return
    if any(mapper.configured for mapper in model.registry.mappers):
        raise AuditConfigError(
            "models of this db are already in use, so they cannot be audited by default any more: "
            "create Audit(db) where db is created"
        )
    model.__audit__ = True
