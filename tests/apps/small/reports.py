"""Reports that a worker of Celery computes, from a broker in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import Celery, Task, chain
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy

from auditspan import Actor
from support.celery_worker import celery_worker

db = SQLAlchemy()
dbs = (db,)


class Report(db.Model):  # type: ignore[name-defined,misc]
    id = db.Column(db.Integer, primary_key=True)
    state = db.Column(db.String(20), nullable=False, default="new")
    pages = db.relationship("Page", order_by="Page.id", cascade="all, delete-orphan")


class Page(db.Model):  # type: ignore[name-defined,misc]
    id = db.Column(db.Integer, primary_key=True)
    report_id = db.Column(db.ForeignKey("report.id"), nullable=False)
    text = db.Column(db.String(40), nullable=False)


def create_apps(url: str, _directory: Path) -> list[Flask]:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    app.extensions["celery"] = celery = Celery(
        "reports", broker="memory://", backend="cache+memory://", task_cls=in_context_of(app)
    )
    celery.conf.broker_transport_options = {"polling_interval": 0.01}

    def compute(key: int, pages: int) -> int:
        report = db.session.get_one(Report, key)
        report.pages = [Page(text=f"page {number}") for number in range(pages)]
        db.session.flush()
        if pages > 2:
            raise ValueError(pages)
        report.state = "computed"
        db.session.commit()
        return key

    def publish(key: int) -> str:
        Report.query.filter_by(id=key).update({"state": "published"})
        db.session.commit()
        return "published"

    computing = celery.task(name="reports.compute", shared=False)(compute)
    publishing = celery.task(name="reports.publish", shared=False)(publish)

    @app.post("/reports/<int:pages>")
    def ask(pages: int) -> dict[str, object]:
        report = Report()
        db.session.add(report)
        db.session.commit()
        sent = chain(computing.s(report.id, pages), publishing.s()).apply_async()
        return {"id": report.id, "tasks": [sent.parent.id, sent.id]}

    return [app]


def actor() -> Actor:
    """The actor of audited reports."""
    return Actor.user(request.headers["X-User"])


def in_context_of(app: Flask) -> type[Any]:
    """Return Flask's documented kind of tasks, which run in the application's context."""

    class FlaskTask(Task):  # type: ignore[misc]
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    return FlaskTask


def story(app: Flask) -> list[object]:
    celery = app.extensions["celery"]
    client, headers = app.test_client(), {"X-User": "kim"}
    asked = [client.post(f"/reports/{pages}", headers=headers).get_json() for pages in (2, 3)]
    with celery_worker(celery):
        done = celery.AsyncResult(asked[0]["tasks"][1]).get(timeout=20)
        failed = celery.AsyncResult(asked[1]["tasks"][0]).get(timeout=20, propagate=False)
    with app.app_context():
        reports = Report.query.order_by(Report.id)
        shown = [(one.state, [page.text for page in one.pages]) for one in reports]
    return [done, repr(failed), shown]
