"""How-to pages about applications, done with applications of their own."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path
from typing import Any

import flask_login
import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from auditspan import Actor, AuditTrail, audit_context
from auditspan.delivery.sinks import FileSink
from auditspan.delivery.worker import Worker
from auditspan.flask import AuditExtension
from documents.conftest import Network
from documents.lists import INSTALLS
from documents.page import HOW_TO, ROOT, Block, blocks
from documents.walk import problems, walk

OWN = HOW_TO / "audit-your-own-application.md"
INVOICE = """

class Invoice(Base):
    __tablename__ = "invoice"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
"""


def typed(page: Path) -> list[Block]:
    """The blocks of a page, without what tests/wheels does."""
    return [one for one in blocks(page) if not one.first.startswith(INSTALLS)]


def python(page: str) -> list[str]:
    return [one.text for one in blocks(HOW_TO / page) if one.language == "python"]


def test_audit_your_own_application(tmp_path: Path, network: Network) -> None:
    """From `init` to the independent check, with the real collector."""
    replace = {
        **network.replace,
        "OTELCOL_DATA=$PWD/.auditspan/collector otelcol": "OTELCOL_DATA=$PWD/.auditspan/collector "
        "$OTELCOL_BIN",
        "otel-collector.yaml": str(ROOT / "otel-collector.yaml"),
        "docs/verify_independently.py": str(ROOT / "docs" / "verify_independently.py"),
    }
    assert [] == problems(walk(typed(OWN), tmp_path, network.environ, replace))


def test_audit_a_flask_application(tmp_path: Path, network: Network) -> None:
    """The commands of the page, with a worker that writes files."""
    page = HOW_TO / "audit-a-flask-application.md"
    environ = network.environ | {"FLASK_AUDITSPAN_SINK": "file"}
    assert [] == problems(walk(typed(page), tmp_path, environ))


def test_adopt_late_and_run_the_worker(tmp_path: Path) -> None:
    """The commands of both pages on one application."""
    (shop,) = [one.text for one in blocks(OWN) if one.file == "shop.py"]
    (tmp_path / "shop.py").write_text(shop + INVOICE)
    todo = [
        one
        for page in ("adopt-late.md", "run-the-worker.md")
        for one in blocks(HOW_TO / page)
        if one.is_shell
    ]
    init = Block(HOW_TO, 0, "console", "$ auditspan --app shop:trail init\n")
    environ = {"AUDITSPAN_SINK": "file", "PYTHONPATH": str(tmp_path)}
    assert [] == problems(walk([init, *todo], tmp_path, environ))


def test_get_the_collector(checkout: Path, network: Network, tmp_path: Path) -> None:
    """Each way of getting it; the builder prints the path of the binary."""
    replace = {
        "/usr/local/bin/otelcol": network.environ["OTELCOL_BIN"],
        "/var/lib/otelcol otelcol": f"{tmp_path} $OTELCOL_BIN",
    }
    page = HOW_TO / "get-the-collector.md"
    assert [] == problems(walk(blocks(page), checkout, network.environ, replace))


def test_erase_a_person(tmp_path: Path) -> None:
    """The program prints what the page shows, and the commands erase the same values."""
    page = HOW_TO / "erase-a-person.md"
    shop, program = python(page.name)
    (printed,) = [one.text for one in blocks(page) if one.language == "text"]
    commands = [one for one in blocks(page) if one.is_shell]
    before = "".join(
        line for line in program.splitlines(keepends=True) if "trail.erase" not in line
    )
    imports = "from shop import Base, Customer, Session, engine, trail\n"
    (tmp_path / "shop.py").write_text(shop)
    (tmp_path / "program.py").write_text(imports + program)
    (tmp_path / "before.py").write_text(imports + before)
    python_ = f"{sys.executable} -W ignore"
    todo = [
        Block(page, 0, "console", "$ auditspan --app shop:trail init\n"),
        Block(page, 0, "console", f"$ {python_} program.py\n…{printed}"),
        Block(page, 0, "console", "$ rm shop.db*\n$ auditspan --app shop:trail init\n"),
        Block(page, 0, "console", f"$ {python_} before.py\n"),
        *commands,
    ]
    environ = {"AUDITSPAN_SINK": "file", "PYTHONPATH": str(tmp_path)}
    assert [] == problems(walk(todo, tmp_path, environ))


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of an application that pages use: models, sessions, trail."""
    monkeypatch.setenv("AUDITSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AUDITSPAN_SINK", "file")

    class Base(DeclarativeBase):
        metadata = MetaData()

    class Book(Base):
        __tablename__ = "book"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    class Loan(Base):
        __tablename__ = "loan"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    return {"Base": Base, "Book": Book, "Loan": Loan, "tmp": tmp_path}


def test_use_several_databases(names: dict[str, Any], tmp_path: Path) -> None:
    """Each database has its own rows, and a worker."""
    first, second, other, last = (python("use-several-databases.md")[one] for one in (0, 1, 2, 4))
    engines = {one: create_engine(f"sqlite:///{tmp_path}/{one}.db") for one in ("books", "loans")}
    names |= {"catalogue": engines["books"], "lending": engines["loans"]}
    names |= {"sessionmaker": sessionmaker, "AuditTrail": AuditTrail}
    exec(first, names)  # noqa: S102 (the page)
    with audit_context(actor=Actor.user(7)), names["Sessions"].begin() as session:
        session.add_all([names["Book"](id=1), names["Loan"](id=2)])
    tables = names["trail"].tables
    for engine in engines.values():
        with engine.connect() as connection:
            assert 1 == len(connection.execute(tables.event.select()).all())
    _elsewhere(other, names, tmp_path)
    sink = FileSink(tmp_path / "files")
    found: dict[str, Any] = names | {"Worker": Worker, "engines": engines, "sink": sink}
    exec(last, found)  # noqa: S102 (the page)
    for worker in found["workers"]:
        worker.stop()
    _several_binds(second)
    for engine in engines.values():
        engine.dispose()


def _elsewhere(block: str, names: dict[str, Any], directory: Path) -> None:
    """The trail on another database has its events; a bind has tables of its own."""
    db, app = SQLAlchemy(), Flask(__name__, root_path=str(directory))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    app.config["SQLALCHEMY_BINDS"] = {"visits": f"sqlite:///{directory}/visits.db"}
    db.init_app(app)
    with app.app_context():
        found = names | {"db": db}
        exec(block, found)  # noqa: S102 (the page)
        db.create_all()
        with found["visits_trail"].new_session() as session:
            assert [] == [*found["visits_trail"].events(session)]
        for engine in db.engines.values():
            engine.dispose()
    with found["lending_trail"].new_session() as session:
        (event,) = found["lending_trail"].events(session)
    assert "loan.create" == event.action


def _several_binds(block: str) -> None:
    class Other(SQLAlchemy):
        def __init__(self) -> None:
            super().__init__()
            self._make_metadata("other")

    exec(block, {"SQLAlchemy": Other, "AuditTrail": AuditTrail})  # noqa: S102 (the page)


def test_look_at_the_trail(names: dict[str, Any], tmp_path: Path) -> None:
    """The pages are at /audit, and ask the login who may see them."""
    app, engine = (
        Flask(__name__, root_path=str(tmp_path)),
        create_engine(f"sqlite:///{tmp_path}/x.db"),
    )
    app.secret_key = "tests"
    flask_login.LoginManager(app).request_loader(
        lambda request: _Auditor("Auditor" in request.headers)
    )
    trail = AuditTrail(sessionmaker(engine), metadata=names["Base"].metadata)
    names["Base"].metadata.create_all(engine)
    block, revert = python("look-at-the-trail.md")
    given: dict[str, Any] = {"app": app, "trail": trail, "actor": Actor.anonymous}
    exec(block, given)  # noqa: S102 (the page)
    compile(revert, "look-at-the-trail.md", "exec")
    client = app.test_client()
    answers = [client.get("/audit/", headers=one) for one in ({}, {"Auditor": "yes"})]
    assert [403, 200] == [one.status_code for one in answers]
    engine.dispose()


class _Auditor:
    is_authenticated = is_active = True

    def __init__(self, is_auditor: bool) -> None:  # noqa: FBT001
        self.is_auditor = is_auditor


def test_run_the_worker_inside_the_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block ends with everything delivered, and the extension takes the same option."""
    (shop,) = [one.text for one in blocks(OWN) if one.file == "shop.py"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUDITSPAN_SINK", "file")
    (tmp_path / "shop.py").write_text(shop)
    monkeypatch.syspath_prepend(str(tmp_path))
    block, extension = python("run-the-worker.md")
    (tmp_path / "program.py").write_text(
        f"import shop\nshop.Base.metadata.create_all(shop.engine)\n{block}"
    )
    found = runpy.run_path("program.py")
    exec(extension, {"AuditExtension": AuditExtension, "trail": found["trail"], "app": Flask("x")})  # noqa: S102
    found["shop"].engine.dispose()


def test_read_the_trail(
    names: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block of the page, on an invoice with one event."""
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=names["Base"].metadata)
    names["Base"].metadata.create_all(engine)
    with audit_context(actor=Actor.user(7, label="kim")), sessions.begin() as session:
        session.add(names["Book"](id=42))
    first, coroutine, last = python("read-the-trail.md")
    with sessions() as session:
        invoice = session.get(names["Book"], 42)
        session.expunge(invoice)
    given = {"Session": sessions, "trail": trail, "invoice": invoice}
    exec(first.replace('"invoice.*"', '"book.*"'), given)  # noqa: S102 (the page)
    with sessions() as session:
        given["session"] = session
        exec(last.replace('"user.*"', '"book.*"'), given)  # noqa: S102 (the page)
    event_id = capsys.readouterr().out.split()[-1]
    with sessions() as session:
        assert trail.history(session, invoice)[0].event_id == event_id
    compile(coroutine, "read-the-trail.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    engine.dispose()
