"""The pages in an application of Flask-SQLAlchemy that protects its forms itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort, request
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy

from auditspan import Actor
from auditspan.flask import Audit
from auditspan.trail.settings import settings_from
from support.patience import PATIENCE

TOKEN = "of the application"


class Library:
    """An application with one model, whose forms need its token."""

    def __init__(self, directory: Path) -> None:
        self.db = SQLAlchemy()
        self.audit = Audit(
            self.db,
            mac_key=None,
            actor=lambda: Actor.user(7, label="Kim"),
            viewer="/audit",
            can_view=lambda: True,
            can_revert=lambda: True,
        )

        class Book(self.db.Model):  # type: ignore[name-defined,misc]
            id = self.db.Column(self.db.Integer, primary_key=True)
            title = self.db.Column(self.db.String(50))

        self.model: Any = Book
        self.app = Flask(__name__)
        self.app.config.update(
            SECRET_KEY="x",
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{directory}/library.db",
            AUDITSPAN_DATA_DIR=str(directory),
            AUDITSPAN_SINK="file",
        )
        self.db.init_app(self.app)
        self.audit.init_app(self.app)
        self.app.jinja_env.globals["csrf_token"] = lambda: TOKEN
        self.app.before_request(_require_token)
        self.app.add_url_rule("/books", "add", self._add, methods=["POST"])
        with self.app.app_context():
            self.db.create_all()

    def _add(self) -> str:
        self.db.session.add(self.model(title=request.form["title"]))
        self.db.session.commit()
        return ""

    def seal(self) -> None:
        """Run a worker until nothing is left to seal and deliver."""
        with (
            self.app.app_context(),
            self.audit.trail.worker(settings_from(self.app.config)) as worker,
        ):
            assert worker.drain(PATIENCE)


def _require_token() -> None:
    if request.method == "POST" and request.form.get("csrf_token") != TOKEN:
        abort(400)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """The application with one book."""
    library = Library(tmp_path)
    answer = library.app.test_client().post("/books", data={"title": "A", "csrf_token": TOKEN})
    assert 200 == answer.status_code
    return library


def event_id(client: FlaskClient) -> str:
    """The id of the event of the book."""
    found = re.search(r"/audit/events/([0-9a-f-]{36})", client.get("/audit/").text)
    assert found
    return found[1]


def test_a_form_has_the_token_of_the_application(library: Library) -> None:
    """So the application lets it through, and the change is reverted."""
    client = library.app.test_client()
    path = f"/audit/events/{event_id(client)}/revert"
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', client.get(path).text))
    assert TOKEN == fields["csrf_token"]
    assert 400 == client.post(path, data={**fields, "csrf_token": "x"}).status_code
    assert 303 == client.post(path, data=fields).status_code
    with library.app.app_context():
        assert [] == library.db.session.query(library.model).all()


def test_an_export_is_streamed(library: Library) -> None:
    """Its pages are read while the context of the application is kept."""
    library.seal()
    lines = library.app.test_client().get("/audit/export?format=csv").text.splitlines()
    assert 2 == len(lines)
    assert '"book.create"' in lines[1]
