"""docs/how-to/say-who-acts.md: each recipe is run, and its events have the actor."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import celery
import dramatiq
import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from dramatiq.brokers.stub import StubBroker
from flask import Flask, has_app_context
from flask_httpauth import HTTPTokenAuth
from flask_jwt_extended import JWTManager, create_access_token
from flask_security import RoleMixin, Security, SQLAlchemyUserDatastore, UserMixin, hash_password
from flask_sqlalchemy import SQLAlchemy
from opentelemetry.sdk.trace import TracerProvider
from redis import Redis
from rq import SimpleWorker

from auditspan import Actor, Event, audit_context
from auditspan.context.rq import AuditedJob
from auditspan.flask import Audit
from support.celery_worker import celery_worker
from support.ports import free_port
from support.redis import running_redis
from support.relaying import wait_for

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "say-who-acts.md"
BLOCKS = dict(re.findall(r"(?ms)^#+ ([^\n]+)\n(?:(?!^#).)*?```python\n(.*?)```", PAGE.read_text()))
TASKS = "tasks_of_the_notes"
KIM = Actor.user("7", label="kim")


class Notes:
    """An application whose only model is a note, and a recipe of the page."""

    def __init__(self, directory: Path) -> None:
        self.db = db = SQLAlchemy()
        self.app = Flask(__name__)
        self.app.config.update(
            SECRET_KEY="tests" * 8,
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{directory / 'notes.db'}",
        )

        class Note(db.Model):  # type: ignore[name-defined,misc]
            id = db.Column(db.Integer, primary_key=True)

        self.Note = Note
        self.audit: Any = None

    def run(self, heading: str, **names: Any) -> dict[str, Any]:
        """Run the recipe under this heading, and return its names."""
        given = {"db": self.db, "app": self.app, "Note": self.Note, **names}
        exec(compile(BLOCKS[heading], heading, "exec"), given)  # noqa: S102 (the page's)
        self.install(given.get("audit"))
        return given

    def install(self, audit: Any = None) -> None:
        """Put the application under its trail."""
        self.audit = audit or Audit(self.db)
        self.db.init_app(self.app)
        self.audit.init_app(self.app)
        self.app.add_url_rule("/notes", view_func=self.add, methods=["POST"])
        with self.app.app_context():
            self.db.create_all()

    def add(self) -> str:
        """Add a note."""
        with nullcontext() if has_app_context() else self.app.app_context():
            self.db.session.add(self.Note())
            self.db.session.commit()
        return "done"

    def events(self) -> list[Event]:
        """Return the events of notes, oldest first."""
        with self.app.app_context():
            return list(self.audit.trail.events(self.db.session(), target=self.Note))[::-1]

    def actors(self) -> list[Actor]:
        """Return the actor of each event."""
        return [one.actor for one in self.events()]

    def post(self, status: int = 200, **headers: str) -> None:
        """Add a note by a request with these headers."""
        answer = self.app.test_client().post(
            "/notes", headers={name.replace("_", "-"): one for name, one in headers.items()}
        )
        assert status == answer.status_code


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Notes]:
    made = Notes(tmp_path)
    yield made
    with made.app.app_context():
        made.db.engine.dispose()


def test_flask_jwt_extended(notes: Notes) -> None:
    """The identity of a valid token is the actor; an expired one refuses the change."""
    JWTManager(notes.app)
    notes.run("Flask-JWT-Extended")
    with notes.app.app_context():
        token = create_access_token("7")
    notes.post(Authorization=f"Bearer {token}")
    notes.post()
    notes.post(422, Authorization="Bearer x.y.z")
    assert [Actor.user("7"), Actor.anonymous()] == notes.actors()


def test_flask_httpauth(notes: Notes) -> None:
    """The user that the verification returned is the actor."""
    auth: HTTPTokenAuth = notes.run("Flask-HTTPAuth")["auth"]
    auth.verify_token(lambda token: "7" if token == "good" else None)
    notes.app.post("/mine", endpoint="mine")(auth.login_required(notes.add))
    headers = {"Authorization": "Bearer good"}
    assert 200 == notes.app.test_client().post("/mine", headers=headers).status_code
    assert 401 == notes.app.test_client().post("/mine").status_code
    notes.post()
    assert [Actor.user("7"), Actor.anonymous()] == notes.actors()


def test_header_of_a_trusted_proxy(notes: Notes) -> None:
    """The header is believed from the proxy's address only."""
    notes.run("A header of a trusted proxy")
    for address in ("10.0.0.2", "198.51.100.7"):
        notes.app.test_client().post(
            "/notes", headers={"X-Forwarded-User": "7"}, environ_base={"REMOTE_ADDR": address}
        )
    assert [Actor.user("7"), Actor.anonymous()] == notes.actors()


def test_flask_security(notes: Notes) -> None:
    """The user is named by the primary key, and not by the secret that sessions hold."""
    db = notes.db

    class Role(db.Model, RoleMixin):  # type: ignore[name-defined,misc]
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String(80), unique=True)

    class User(db.Model, UserMixin):  # type: ignore[name-defined,misc]
        id = db.Column(db.Integer, primary_key=True)
        username = db.Column(db.String(80))
        email = db.Column(db.String(80), unique=True)
        password = db.Column(db.String(255))
        active = db.Column(db.Boolean)
        fs_uniquifier = db.Column(db.String(64), unique=True)
        roles = db.relationship(  # type: ignore[assignment]
            Role,
            secondary=db.Table(
                "user_role",
                db.Column("user", db.ForeignKey("user.id"), primary_key=True),
                db.Column("role", db.ForeignKey("role.id"), primary_key=True),
            ),
        )

    notes.app.config.update(
        SECURITY_PASSWORD_SALT="tests",
        SECURITY_PASSWORD_HASH="plaintext",
        SECURITY_PASSWORD_SCHEMES=["plaintext"],
        WTF_CSRF_ENABLED=False,
    )
    notes.install()
    users = SQLAlchemyUserDatastore(db, User, Role)
    Security(notes.app, users)
    with notes.app.app_context(), audit_context(actor=Actor.system("test")):
        users.create_user(
            id=7, username="kim", email="kim@example.com", password=hash_password("secret")
        )
        db.session.commit()
    client = notes.app.test_client()
    answer = client.post("/login", json={"email": "kim@example.com", "password": "secret"})
    assert 200 == answer.status_code, answer.text
    client.post("/notes")
    notes.post()
    assert [KIM, Actor.anonymous()] == notes.actors()


def sent_by_kim(send: Callable[[], object]) -> str:
    """Send a task as kim and another one without an actor; return kim's trace id."""
    tracer = TracerProvider().get_tracer("tests")
    with tracer.start_as_current_span("request") as span:
        with audit_context(actor=KIM, reason="monthly", tenant="acme"):
            send()
        trace_id = f"{span.get_span_context().trace_id:032x}"
    send()
    return trace_id


def assert_carried(notes: Notes, task: str, trace_id: str) -> None:
    """Check the events of both tasks."""
    first, second = notes.events()
    assert (KIM, "monthly", "acme", {"task": task}, trace_id) == (
        first.actor,
        first.reason,
        first.tenant,
        first.metadata,
        first.trace_id,
    )
    assert (Actor.system(task), None, {"task": task}) == (
        second.actor,
        second.reason,
        second.metadata,
    )
    assert trace_id != second.trace_id


def test_celery(notes: Notes) -> None:
    """A worker on the memory broker runs the tasks as their senders; an eager one as its caller."""
    notes.run("Celery")
    app = celery.Celery("notes", broker="memory://", backend="cache+memory://")

    def add() -> str:
        return notes.add()

    task = app.task(name="notes.add")(add)

    results: list[Any] = []
    trace_id = sent_by_kim(lambda: results.append(task.delay()))
    with celery_worker(app):
        assert ["done", "done"] == [one.get(timeout=20) for one in results]
    assert_carried(notes, "notes.add", trace_id)
    with audit_context(actor=KIM):
        task.apply().get()
    assert (KIM, {}) == (notes.events()[-1].actor, notes.events()[-1].metadata)


def test_rq(notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with the same class of jobs runs them as those who enqueued them in a real Redis."""
    module = ModuleType(TASKS)
    vars(module)["add"] = notes.add
    monkeypatch.setitem(sys.modules, TASKS, module)
    with running_redis(tmp_path, free_port()) as url, Redis.from_url(url) as redis:
        queue = notes.run("RQ", redis=redis)["queue"]
        trace_id = sent_by_kim(lambda: queue.enqueue(f"{TASKS}.add"))
        assert SimpleWorker([queue], connection=redis, job_class=AuditedJob).work(burst=True)
    assert_carried(notes, f"{TASKS}.add", trace_id)


def test_dramatiq(notes: Notes) -> None:
    """A worker runs the messages as their senders, also one that is tried again."""
    broker = StubBroker()
    notes.run("Dramatiq", broker=broker)
    tries: list[int] = []

    def add() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError
        notes.add()

    actor = dramatiq.actor(actor_name="add", broker=broker, min_backoff=10, max_backoff=20)(add)
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=1)
    worker.start()

    def send() -> None:
        actor.send()
        broker.join("default", timeout=20_000)
        worker.join()

    trace_id = sent_by_kim(send)
    worker.stop()
    broker.close()
    assert 3 == len(tries)
    assert_carried(notes, "add", trace_id)


def test_apscheduler(notes: Notes) -> None:
    """A job under the decorator acts as the system."""
    notes.install()
    with audit_context(actor=KIM):
        notes.add()
    scheduler = BackgroundScheduler()
    exec_names = {"db": notes.db, "app": notes.app, "Note": notes.Note, "scheduler": scheduler}
    exec(BLOCKS["APScheduler, cron and scripts"], exec_names)  # noqa: S102 (the page's)
    scheduler.start()
    scheduler.get_job("clean-up").modify(next_run_time=datetime.now(UTC))
    wait_for(lambda: len(notes.events()) == 2)
    scheduler.shutdown()
    assert [KIM, Actor.system("clean-up")] == notes.actors()
    assert "older than a year" == notes.events()[-1].reason
