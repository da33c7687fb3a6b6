"""A trail of each kind that commands act on: the service, and applications."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from auditspan import Actor, AuditTrail, audit_context
from auditspan.flask import Audit
from auditspan.storage.keys import load_or_create_mac_key
from auditspan_service.cli import main
from support.collector import bodies
from support.postgres import empty_database
from support.program import Program
from support.relaying import wait_for
from support.running import AUDITSPAN, clean_environment

TARGETS = ("service", "sqlite", "postgresql", "flask", "bind")
"""What a command acts on: the service, `--app` on each database, `flask audit`, its `--bind`."""

SHOP = "shop_of_the_matrix"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A trail with a command line and a data directory.

    Attributes:
        name: one of `TARGETS`.
        data: the data directory.
        actions: the actions of the events, oldest first.
        invoke: runs one command in this process.
    """

    name: str
    data: Path
    actions: list[str]
    invoke: Callable[[list[str]], Result]

    @property
    def delivered(self) -> list[str]:
        """The bodies in the files of the sink."""
        return bodies(self.data / "collector" / "audit" / "audit.jsonl")

    def run(self, *arguments: str) -> Result:
        """Run one command to its end."""
        return self.invoke(list(arguments))

    def objects(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """Return the JSON lines of a command that ends with this code."""
        done = self.run(*arguments, "--json")
        assert code == done.exit_code, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def place_of(name: str, data: Path) -> Iterator[Place]:
    """Open a trail of this kind with two events, which its own worker has sealed and delivered."""
    environ = {"AUDITSPAN_DATA_DIR": str(data), "AUDITSPAN_SINK": "file"}
    makers = {"service": _service, "sqlite": _sqlite, "postgresql": _postgresql}
    makers |= {"flask": _flask, "bind": _bind}
    with pytest.MonkeyPatch.context() as patched:
        for variable in [one for one in os.environ if one.startswith("AUDITSPAN_")]:
            if variable != "AUDITSPAN_TEST_DATABASE_URL":
                patched.delenv(variable)
        for variable, value in environ.items():
            patched.setenv(variable, value)
        with makers[name](data, patched) as place:
            yield place


def work(place: Place) -> Result:
    """Run `worker` in this process until everything is delivered; end it as Ctrl-C does."""

    def stop() -> None:
        wait_for(lambda: len(place.delivered) > len(place.actions))  # with a checkpoint
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=stop)
    watcher.start()
    done = place.run("worker")
    watcher.join()
    return done


@contextmanager
def _service(data: Path, _patched: pytest.MonkeyPatch) -> Iterator[Place]:
    place = Place(
        name="service",
        data=data,
        actions=["user.create"] * 2,
        invoke=lambda arguments: CliRunner().invoke(main, arguments, prog_name="auditspan"),
    )
    for arguments in (["db", "upgrade"], ["keys", "init"], ["users", "add", "kim"]):
        assert 0 == place.run(*arguments).exit_code
    place.run("users", "add", "lee")
    environ = {**clean_environment(), "AUDITSPAN_DATA_DIR": str(data), "AUDITSPAN_SINK": "file"}
    worker = Program([AUDITSPAN, "worker"], environ=environ, log=data / "worker.log")
    worker.start()
    try:
        wait_for(lambda: len(place.delivered) > len(place.actions))
    finally:
        assert 0 == worker.stop()
    yield place


@contextmanager
def _sqlite(data: Path, patched: pytest.MonkeyPatch) -> Iterator[Place]:
    with _application("sqlite", f"sqlite:///{data.parent / 'shop.db'}", data, patched) as place:
        yield place


@contextmanager
def _postgresql(data: Path, patched: pytest.MonkeyPatch) -> Iterator[Place]:
    patched.setenv("AUDITSPAN_ENV", "development")
    with (
        empty_database() as url,
        _application("postgresql", url, data, patched) as place,
    ):
        yield place


@contextmanager
def _application(name: str, url: str, data: Path, patched: pytest.MonkeyPatch) -> Iterator[Place]:
    class Base(DeclarativeBase):
        metadata = MetaData()

    class Customer(Base):
        __tablename__ = "customer"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    load_or_create_mac_key(data / "keys" / "mac.key", create=True)
    engine = create_engine(url)
    sessions = sessionmaker(engine)
    shop = ModuleType(SHOP)
    vars(shop).update(trail=AuditTrail(sessions, metadata=Base.metadata), Base=Base)
    patched.setitem(sys.modules, SHOP, shop)
    place = Place(
        name=name,
        data=data,
        actions=["customer.create", "customer.update"],
        invoke=lambda arguments: CliRunner().invoke(
            main, ["--app", f"{SHOP}:trail", *arguments], prog_name="auditspan"
        ),
    )
    (made,) = place.objects("init")
    assert ["signing key", "tables"] == made["created"]
    with audit_context(actor=Actor.user(7, label="lee")):
        with sessions.begin() as session:
            session.add(Customer(id=1, name="kim"))
        with sessions.begin() as session:
            session.get_one(Customer, 1).name = "Kim Park"
    assert 0 == work(place).exit_code
    yield place
    engine.dispose()


@contextmanager
def _flask(data: Path, _patched: pytest.MonkeyPatch) -> Iterator[Place]:
    with _flask_application("flask", None, data) as place:
        yield place


@contextmanager
def _bind(data: Path, _patched: pytest.MonkeyPatch) -> Iterator[Place]:
    with _flask_application("bind", "customers", data) as place:
        yield place


@contextmanager
def _flask_application(name: str, bind: str | None, data: Path) -> Iterator[Place]:
    """An application whose customers are in the database of this bind."""
    db = SQLAlchemy()
    audit = Audit(db, mac_key=load_or_create_mac_key(data / "keys" / "mac.key", create=True))

    class Customer(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "customer"
        __bind_key__ = bind
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{data.parent / 'shop.db'}"
    app.config["SQLALCHEMY_BINDS"] = {bind: f"sqlite:///{data.parent / 'bind.db'}"} if bind else {}
    db.init_app(app)
    audit.init_app(app)
    options = ["--bind", bind] if bind else []
    place = Place(
        name=name,
        data=data,
        actions=["customer.create", "customer.update"],
        invoke=lambda arguments: app.test_cli_runner().invoke(args=["audit", *options, *arguments]),
    )
    place.objects("init")
    with app.app_context(), audit_context(actor=Actor.user(7, label="lee")):
        customer = Customer(id=1, name="kim")
        db.session.add(customer)
        db.session.commit()
        customer.name = "Kim Park"
        db.session.commit()
    assert 0 == work(place).exit_code
    yield place
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()
