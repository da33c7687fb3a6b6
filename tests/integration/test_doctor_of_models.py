"""`doctor` of an application: its models, their suspicious columns, and policies to paste."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Dialect, String, TypeDecorator

from auditspan import Exempt, Policy
from auditspan.flask import Audit


class Folded(TypeDecorator[str]):
    """Text that is stored in lower case."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Fold the text."""
        return value and value.lower()


EXPECTED = """\
model {module}.Cache: exempt
model {module}.Member: audited
  email has the type Folded: the trail records what the column holds
  last_seen may change with every request: write no record for it alone
  id_digest may hold a secret: redact it
  created gets aware times, but its type is naive: use DateTime(timezone=True)
  __audit__ = Policy(exclude={{"notes"}}, redact={{"id_digest", "phone"}}, ignore={{"last_seen"}})
model {module}.Undecided: NOT audited
"""


def test_doctor_reviews_the_models_of_an_application(tmp_path: Path) -> None:
    """Names and types are judged; what a policy covers already is not suspicious."""
    db, app = SQLAlchemy(), Flask(__name__)
    audit = Audit(db, mac_key=None)

    class Member(db.Model):  # type: ignore[name-defined,misc]
        __audit__ = Policy(redact={"phone"}, exclude={"notes"})
        id = db.Column(db.Integer, primary_key=True)
        email = db.Column(Folded)
        phone = db.Column(db.String)
        notes = db.Column(db.String)
        password_hash = db.Column(db.String)
        last_seen = db.Column(db.DateTime(timezone=True), default=lambda: datetime.now(UTC))
        id_digest = db.Column(db.String)
        created = db.Column(db.DateTime, default=lambda: datetime.now(UTC))

    class Cache(db.Model):  # type: ignore[name-defined,misc]
        __audit__ = Exempt("computed")
        id = db.Column(db.Integer, primary_key=True)
        digest = db.Column(db.String)

    class Undecided(db.Model):  # type: ignore[name-defined,misc]
        __audit__ = False
        id = db.Column(db.Integer, primary_key=True)

    def doctor(*options: str) -> str:
        arguments = ["audit", "doctor", *options, "--data", str(tmp_path)]
        return str(app.test_cli_runner().invoke(args=arguments).stdout)

    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'shop.db'}"
    db.init_app(app)
    audit.init_app(app)
    module = Member.__module__
    prefix = f"{module}.{Member.__qualname__.rpartition('.')[0]}"
    shown = doctor()
    assert EXPECTED.format(module=prefix) in shown
    (member,) = [one for one in json.loads(doctor("--json"))["models"] if one["policy"]]
    pasted: dict[str, Any] = {"Policy": Policy}
    exec(member["policy"], pasted)  # noqa: S102 (as a developer pastes it)
    assert {"phone", "id_digest"} == pasted["__audit__"].redact
    with app.app_context():
        db.engine.dispose()
