"""A shop that keeps its visits and its archive in databases of their own."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import IntegrityError

db = SQLAlchemy()
dbs = (db,)


class Order(db.Model):  # type: ignore[name-defined,misc]
    __tablename__ = "purchase"
    id = db.Column(db.Integer, primary_key=True)
    what = db.Column(db.String(40), nullable=False)


class Visit(db.Model):  # type: ignore[name-defined,misc]
    __bind_key__ = "visits"
    id = db.Column(db.Integer, primary_key=True)
    path = db.Column(db.String(40), nullable=False)


class Archived(db.Model):  # type: ignore[name-defined,misc]
    __bind_key__ = "archive"
    id = db.Column(db.Integer, primary_key=True)
    order_id = db.Column(db.Integer, unique=True, nullable=False)
    what = db.Column(db.String(40), nullable=False)


def create_apps(url: str, directory: Path) -> list[Flask]:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_BINDS"] = {
        name: f"sqlite:///{directory / f'{name}.db'}" for name in ("visits", "archive")
    }
    db.init_app(app)

    @app.before_request
    def visited() -> None:
        db.session.add(Visit(path=request.path))
        db.session.commit()

    @app.post("/orders")
    def order() -> dict[str, object]:
        made = Order(what=request.form["what"])
        db.session.add(made)
        db.session.commit()
        return {"id": made.id}

    @app.post("/archive")
    def archive() -> dict[str, object]:
        """Move the orders to the archive: two databases in one session."""
        found = Order.query.order_by(Order.id).all()
        db.session.add_all(Archived(order_id=one.id, what=one.what) for one in found)
        Order.query.delete()
        db.session.commit()
        return {"moved": len(found)}

    @app.post("/copy")
    def copy() -> tuple[dict[str, object], int]:
        """Archive an order twice, which the archive refuses: nothing of it remains anywhere."""
        try:
            for one in Order.query.all():
                one.what = "copied"
                db.session.add_all(Archived(order_id=one.id, what=one.what) for _ in range(2))
            db.session.commit()
        except IntegrityError:
            db.session.rollback()
            return {"copied": False}, 409
        return {"copied": True}, 200

    @app.get("/")
    def show() -> dict[str, object]:
        return {
            "orders": [one.what for one in Order.query.order_by(Order.id)],
            "visits": Visit.query.count(),
            "archive": [one.what for one in Archived.query.order_by(Archived.id)],
        }

    return [app]


def story(app: Flask) -> list[object]:
    client = app.test_client()
    calls = [("/orders", {"what": "cup"}), ("/orders", {"what": "pot"}), ("/copy", {})]
    calls += [("/archive", {}), ("/orders", {"what": "lid"})]
    answers = [client.post(path, data=data) for path, data in calls]
    return [(answer.status_code, answer.get_json()) for answer in [*answers, client.get("/")]]
