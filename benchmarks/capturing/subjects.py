"""Subjects: each set up in the way of its own documentation, with its defaults.

Nothing of a library is imported before its subject is asked for, since they put hooks on mappers
and engines of the whole process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from sqlalchemy.orm import configure_mappers

from capturing.accounts import account_model, make_base
from capturing.floor import FLOOR_TABLE, Floor
from capturing.setup import Setup, connect

NONE, FLOOR, AUDITSPAN = "no audit", "floor", "auditspan"
CONTINUUM, HISTORY, TRIGGERS = "Continuum", "History", "PostgreSQL-Audit"

_held = ExitStack()
"""Keeps open for the life of the process what a subject opens for itself."""


def subjects_on(database: str) -> tuple[str, ...]:
    """Those that work on this database, in the order in which they are shown."""
    everywhere = (NONE, FLOOR, AUDITSPAN, CONTINUUM, HISTORY)
    return (*everywhere, TRIGGERS) if database == "PostgreSQL" else everywhere


def set_up(subject: str, url: str) -> Setup:
    """Tables, hooks, engine and sessions of a subject. MUST be called once in a process."""
    setup = _SUBJECTS[subject](url)
    setup.model.metadata.create_all(setup.engine)
    return setup


def _plain(url: str, marks: dict[str, Any], base: Any = None) -> Setup:  # noqa: ANN401
    engine, sessions = connect(url)
    model = account_model(base or make_base(), marks)
    return Setup(engine=engine, sessions=sessions, model=model)


def _none(url: str) -> Setup:
    return _plain(url, {})


def _floor(url: str) -> Setup:
    setup = _plain(url, {})
    setup.trail = FLOOR_TABLE
    floor = Floor(setup)
    floor.listen()
    setup.after_statement = floor.write
    return setup


def _auditspan(url: str) -> Setup:
    library = importlib.import_module("auditspan")
    format_ = importlib.import_module("auditspan.format")
    setup = _plain(url, {"__audit__": True})
    key = format_.MacKey.from_secret(b"k" * format_.SECRET_BYTES)
    library.AuditTrail(setup.sessions, metadata=setup.model.metadata, mac_key=key)
    actor = library.Actor.user("7", label="kim")
    _held.enter_context(library.audit_context(actor=actor, reason="benchmark"))
    setup.trail = "audit_event"
    return setup


def _versions(package: str) -> Callable[[str], Setup]:
    def subject(url: str) -> Setup:
        importlib.import_module(package).make_versioned(user_cls=None)
        setup = _plain(url, {"__versioned__": {}})
        configure_mappers()
        setup.trail = "account_version"
        return setup

    return subject


def _triggers(url: str) -> Setup:
    manager = importlib.import_module("postgresql_audit").versioning_manager
    base = make_base()
    manager.init(base)
    manager.values = {"actor_id": "7"}
    setup = _plain(url, {"__versioned__": {}}, base)
    configure_mappers()
    for own in (manager.transaction_cls, manager.activity_cls):  # make the functions of triggers
        own.__table__.create(setup.engine)
    setup.trail = "activity"
    return setup


_SUBJECTS: dict[str, Callable[[str], Setup]] = {
    NONE: _none,
    FLOOR: _floor,
    AUDITSPAN: _auditspan,
    CONTINUUM: _versions("sqlalchemy_continuum"),
    HISTORY: _versions("sqlalchemy_history"),
    TRIGGERS: _triggers,
}
