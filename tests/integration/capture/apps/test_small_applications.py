"""Small complete applications do the same under `Audit` as alone, and the trail replays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy.orm import sessionmaker

from auditspan.context.celery import install
from auditspan.flask import Audit
from integration.capture.application import KEY, Application
from integration.capture.apps.watching import fresh
from support.postgres import empty_database

Events = defaultdict[str, list[str]]
EVENTS = {
    "blog": {
        "anonymous/None": ["user.create", "post.delete", "user.delete"],
        "user/1": ["tag.create"] * 2 + ["post.create"] + ["post.update"] * 5,
    },
    "api": {
        "user/kim": ["item.create"] + ["item.update"] * 2 + ["item.create", "item.delete"],
    },
    "office": {
        "anonymous/None": ["clerk.create"],
        "user/1": ["supplier.create"]
        + ["product.create"] * 2
        + ["product.update"] * 3
        + ["product.delete", "product.update", "supplier.delete"],
    },
    "binds": {
        "anonymous/None": ["visit.create"] * 6
        + ["archived.create"] * 2
        + ["order.create"] * 2
        + ["order.delete"] * 2
        + ["order.create"],
    },
    "factories": {
        "anonymous/None": ["sale.create"] * 2 + ["shelf.create"] + ["shelf.update"] * 3,
    },
    "reports": {
        "user/kim": ["report.create"] * 2 + ["page.create"] * 2 + ["report.update"] * 2,
    },
}
"""The actions of each application by the actors, those of each database in order."""


@contextmanager
def database(kind: str, directory: Path) -> Iterator[str]:
    """Provide the URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'application.db'}"
    else:
        with empty_database() as url:
            yield url


def run(name: str, url: str, directory: Path, *, is_audited: bool) -> tuple[Any, Events]:
    """Play the application's story; return its results and the events."""
    package = fresh(f"apps.small.{name}")
    options = {"actor": package.actor} if hasattr(package, "actor") else {}
    audits = [Audit(db, mac_key=KEY, **options) if is_audited else None for db in package.dbs]
    apps = package.create_apps(url, directory)
    parts = list(zip(apps, package.dbs, audits, strict=True))
    for app, db, audit in parts:
        if audit:
            audit.init_app(app)
        with app.app_context():
            _create_tables(app, db, directory)
    results, events = package.story(*apps), Events(list)
    for app, db, audit in parts:
        for actor, action in _checked(app, db, audit) if audit else ():
            events[actor].append(action)
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()
    return results, events


def _create_tables(app: Flask, db: Any, directory: Path) -> None:
    if "migrate" not in app.extensions:
        db.create_all()
        return
    flask_migrate.init()
    env = directory / "migrations" / "env.py"
    env.write_text(env.read_text().replace("fileConfig(", "str("))  # it disables every logger
    flask_migrate.migrate()
    flask_migrate.upgrade()


def _checked(app: Flask, db: Any, audit: Audit) -> Iterator[tuple[str, str]]:
    """Replay the trail of each bind against its tables; yield its events."""
    with app.app_context():
        engines = dict(db.engines)
    for key, engine in engines.items():
        application = Application(
            engine=engine,
            metadata=db.metadatas[key],
            sessions=sessionmaker(),
            trail=audit.trail,
        )
        application.check()
        for event in application.events():
            actor = event["actor"]
            yield f"{actor['type']}/{actor['id']}", event["action"]


@pytest.mark.filterwarnings("ignore:'get_engine'")  # Flask-Migrate's
@pytest.mark.filterwarnings("ignore::DeprecationWarning:flask_admin")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:wtforms")
@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "sqlite") for name in EVENTS]
    + [(name, "postgresql") for name in EVENTS if name != "reports"],  # a worker takes seconds
)
def test_application_does_the_same_under_a_trail(name: str, kind: str, tmp_path: Path) -> None:
    """Its results are equal, its events are these, and each replays to its tables."""
    results: list[Any] = []
    events = Events(list)
    install()
    for is_audited in (False, True):
        directory = tmp_path / str(is_audited)
        directory.mkdir()
        with database(kind, directory) as url:
            result, events = run(name, url, directory, is_audited=is_audited)
        results.append(result)
    assert results[0] == results[1]
    assert EVENTS[name] == events
