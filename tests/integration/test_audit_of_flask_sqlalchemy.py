"""`Audit(db)`: every model of Flask-SQLAlchemy, with the actors of Flask."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flask_login
import pytest
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import inspect, select, text

from auditspan import Actor, AuditConfigError, Exempt, MissingActorError, Policy, audit_context
from auditspan.flask import Audit
from support.collector import bodies
from support.relaying import wait_for

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "audit-a-flask-application.md"


class Blog:
    """An application under `Audit`, with a second bind, and the events of each database."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.db = db = SQLAlchemy()
        self.audit = Audit(db, mac_key=None, **options)

        class Post(db.Model):  # type: ignore[name-defined,misc]
            id = db.Column(db.Integer, primary_key=True)

        class Visit(db.Model):  # type: ignore[name-defined,misc]
            __bind_key__ = "visits"
            id = db.Column(db.Integer, primary_key=True)

        class Draft(db.Model):  # type: ignore[name-defined,misc]
            __audit__ = Exempt("kept for an hour")
            id = db.Column(db.Integer, primary_key=True)

        self.Post, self.Visit, self.Draft = Post, Visit, Draft
        self.app = self.application(directory)

    def application(self, directory: Path) -> Flask:
        """Make an application on databases in this directory."""
        app = Flask(__name__)
        app.config["SECRET_KEY"] = "tests"
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{directory / 'blog.db'}"
        app.config["SQLALCHEMY_BINDS"] = {"visits": f"sqlite:///{directory / 'visits.db'}"}
        self.db.init_app(app)
        self.audit.init_app(app)
        with app.app_context():
            self.db.create_all()
        app.post("/<kind>")(self.add)
        return app

    def add(self, kind: str) -> str:
        """Add an object of this kind."""
        self.db.session.add(getattr(self, kind)())
        self.db.session.commit()
        return "done"

    def events(self, bind: str | None = None, app: Flask | None = None) -> list[tuple[str, str]]:
        """Return action and actor of the events in one database."""
        event = self.audit.trail.tables.event
        with (app or self.app).app_context(), self.db.engines[bind].connect() as connection:
            bodies = connection.scalars(select(event.c.body).order_by(event.c.id))
            found = [json.loads(body) for body in bodies]
        return [(one["action"], f"{one['actor']['type']}/{one['actor']['id']}") for one in found]

    def dispose(self, app: Flask) -> None:
        """Close the connections of an application."""
        with app.app_context():
            for engine in self.db.engines.values():
                engine.dispose()


@pytest.fixture
def blog(tmp_path: Path) -> Iterator[Blog]:
    made = Blog(tmp_path)
    yield made
    made.dispose(made.app)


def test_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application of the page is audited, with at most three lines for the trail."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert 3 == len([line for line in block.splitlines() if re.search("[Aa]udit", line)])
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path / 'blog.db'}")
    monkeypatch.setenv("AUDITSPAN_DATA_DIR", str(tmp_path / "data"))
    names: dict[str, Any] = {"__name__": "blog"}
    exec(compile(block, "blog.py", "exec"), names)  # noqa: S102 (the page's)
    runner = names["app"].test_cli_runner()
    made = runner.invoke(args=["audit", "init"])
    assert ("created   MAC key, signing key, tables", 0) == (
        made.output.splitlines()[0],
        made.exit_code,
    )
    assert 201 == names["app"].test_client().post("/posts", data={"title": "x"}).status_code
    shown = json.loads(runner.invoke(args=["audit", "events", "--json"]).stdout)
    assert ("post.create", "anonymous") == (shown["action"], shown["actor"]["type"])
    with names["app"].app_context():
        names["db"].engine.dispose()


def test_every_model_is_audited_unless_it_is_exempt(blog: Blog) -> None:
    """Models of each bind are recorded in their own database."""
    for kind in ("Post", "Visit", "Draft"):
        assert 200 == blog.app.test_client().post(f"/{kind}").status_code
    assert [("post.create", "anonymous/None")] == blog.events()
    assert [("visit.create", "anonymous/None")] == blog.events("visits")


def test_trail_of_a_bind_reads_and_restores(blog: Blog) -> None:
    """`for_database` has the methods of the trail, on the database of the bind."""
    blog.app.test_client().post("/Visit")
    with blog.app.app_context(), audit_context(actor=Actor.system("test")):
        trail = blog.audit.trail.for_database(
            blog.db.engines["visits"], blog.db.metadatas["visits"]
        )
        with trail.new_session() as session, session.begin():
            (created,) = trail.history(session, blog.Visit, 1)
            trail.revert(session, created)
            trail.record(session, "visit.reviewed")
            assert trail.as_of(session, blog.Visit, 1, datetime.now(UTC)) is None
        with blog.db.engines["visits"].begin() as connection, trail.unaudited(reason="import"):
            connection.execute(text("INSERT INTO visit (id) VALUES (7)"))
        with trail.new_session() as session:
            assert 1 == trail.baseline(session)
    actions = [action for action, _ in blog.events("visits")]
    assert ["visit.create", "visit.delete", "visit.reviewed"] == actions[:3]
    assert ["visit.statement", "visit.baseline"] == actions[3:]
    assert [] == blog.events()


def test_worker_of_the_process_seals_each_bind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each database has a signing key of its own, and so is a trail for the collector."""
    monkeypatch.setenv("AUDITSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AUDITSPAN_SINK", "file")
    blog = Blog(tmp_path, worker=True)
    for kind in ("Post", "Visit"):
        blog.app.test_client().post(f"/{kind}")
    delivered = tmp_path / "data" / "collector" / "audit" / "audit.jsonl"
    wait_for(lambda: len(bodies(delivered)) >= 4)  # with the checkpoints
    blog.audit.close()
    for options in ([], ["--bind", "visits"]):
        runner = blog.app.test_cli_runner()
        done = runner.invoke(args=["audit", *options, "reconcile"])
        assert (0, "reconciled") == (done.exit_code, done.stdout.splitlines()[-1])
        assert 0 == runner.invoke(args=["audit", *options, "verify", "--state"]).exit_code
        assert (tmp_path / "data" / "keys" / f"signing{'-'.join(['', *options[1:]])}.key").exists()
    blog.dispose(blog.app)


def test_unknown_bind_is_refused(blog: Blog) -> None:
    """The message names those that there are."""
    done = blog.app.test_cli_runner().invoke(args=["audit", "--bind", "visit", "events"])
    assert 2 == done.exit_code
    assert "--bind visit: the application has no such bind; it has visits." in done.stderr


def test_two_applications_with_one_db_have_trails_of_their_own(blog: Blog, tmp_path: Path) -> None:
    """The first statement of the second one is raw SQL, and is recorded with its actor."""
    (tmp_path / "second").mkdir()
    second = blog.application(tmp_path / "second")
    with (
        second.app_context(),
        audit_context(actor=Actor.system("import")),
        blog.db.engine.begin() as connection,
    ):
        connection.execute(text("INSERT INTO post DEFAULT VALUES"))
    blog.app.test_client().post("/Post")
    assert [("post.create", "system/import")] == blog.events(app=second)
    assert [("post.create", "anonymous/None")] == blog.events()
    blog.dispose(second)


def test_flask_commands_act_as_the_system(blog: Blog) -> None:
    """The actor of a command is its name, groups included; without one, a write is refused."""
    blog.app.cli.command("import-posts")(lambda: blog.add("Post") and None)
    blog.app.cli.group("posts")(lambda: None)
    posts: Any = blog.app.cli.commands["posts"]
    posts.command("import")(lambda: blog.add("Post") and None)
    runner = blog.app.test_cli_runner()
    for arguments in (["import-posts"], ["posts", "import"]):
        assert 0 == runner.invoke(args=arguments).exit_code
    assert ["system/import-posts", "system/posts import"] == [who for _, who in blog.events()]
    with blog.app.app_context(), pytest.raises(MissingActorError):
        blog.add("Post")


def test_init_app_needs_the_applications_db() -> None:
    """Before `db.init_app(app)` there is no database to audit."""
    with pytest.raises(AuditConfigError, match=r"call db\.init_app\(app\) before"):
        Audit(SQLAlchemy(), mac_key=None).init_app(Flask(__name__))


def test_audit_of_an_application_is_refused() -> None:
    """`Audit(app)` is a usual slip: other extensions take the application there."""
    with pytest.raises(AuditConfigError, match=r"as in Audit\(db\), and not a Flask: pass the"):
        Audit(Flask(__name__))


def test_models_in_use_cannot_be_audited_by_default() -> None:
    """Mappers that SQLAlchemy has configured have been read."""
    db = SQLAlchemy()

    class Post(db.Model):  # type: ignore[name-defined,misc]
        id = db.Column(db.Integer, primary_key=True)

    inspect(Post).registry.configure()
    with pytest.raises(AuditConfigError, match="already in use"):
        Audit(db, mac_key=None)


@pytest.mark.parametrize(
    ("policy", "label"), [(True, "kim"), (Policy(redact={"username"}), None)], ids=str
)
def test_user_of_flask_login_is_the_actor(tmp_path: Path, policy: Any, label: str | None) -> None:
    """Its id is the primary key, whatever Flask-Login calls it; a hidden name is no label."""
    db, app = SQLAlchemy(), Flask(__name__)
    audit = Audit(db, mac_key=None)

    class User(db.Model):  # type: ignore[name-defined,misc]
        __audit__ = policy
        id = db.Column(db.Integer, primary_key=True)
        username = db.Column(db.String(20))
        is_authenticated = is_active = True

        def get_id(self) -> str:
            """Return an alternative id, as Flask-Login's documentation recommends."""
            return f"session-of-{self.username}"

    app.config.update(SECRET_KEY="tests", SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'x.db'}")
    db.init_app(app)
    audit.init_app(app)
    login = flask_login.LoginManager(app)
    login.user_loader(
        lambda key: User.query.filter_by(username=key.removeprefix("session-of-")).first()
    )

    @app.post("/")
    def add() -> str:
        db.session.add(User(username=request.form["name"]))
        db.session.commit()
        if "login" in request.form:
            flask_login.login_user(User.query.filter_by(username="kim").one())
        return "done"

    with app.app_context():
        db.create_all()
    client = app.test_client()
    client.post("/", data={"name": "kim", "login": "yes"})
    client.post("/", data={"name": "lee"})
    with app.app_context():
        first, second = reversed(list(audit.trail.events(db.session())))
        db.session.remove()
        db.engine.dispose()
    assert (Actor.anonymous(), Actor.user("1", label=label)) == (first.actor, second.actor)
