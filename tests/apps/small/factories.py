"""Two applications in one process, each with its factory and its database: one calls the other."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, abort, request
from flask_sqlalchemy import SQLAlchemy
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

front, stock = dbs = SQLAlchemy(), SQLAlchemy()


class Sale(front.Model):  # type: ignore[name-defined,misc]
    id = front.Column(front.Integer, primary_key=True)
    what = front.Column(front.String(20), nullable=False)


class Shelf(stock.Model):  # type: ignore[name-defined,misc]
    what = stock.Column(stock.String(20), primary_key=True)
    left = stock.Column(stock.Integer, stock.CheckConstraint('"left" >= 0'), nullable=False)


def create_front(url: str, warehouse: Flask) -> Flask:
    """The shop, which asks the warehouse for what it sells."""
    app = Flask("front")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    front.init_app(app)

    @app.post("/sales/<what>")
    def sell(what: str) -> str:
        front.session.add(Sale(what=what))
        front.session.flush()
        if warehouse.test_client().post(f"/take/{what}").status_code != 200:
            abort(409)
        front.session.commit()
        return "sold"

    return app


def create_warehouse(url: str) -> Flask:
    """The warehouse."""
    app = Flask("warehouse")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    stock.init_app(app)

    @app.post("/put/<what>")
    def put(what: str) -> str:
        shelf = stock.session.get(Shelf, what) or Shelf(what=what, left=0)
        stock.session.add(shelf)
        shelf.left += int(request.form["number"])
        stock.session.commit()
        return "put"

    @app.post("/take/<what>")
    def take(what: str) -> str:
        taken = Shelf.query.filter(Shelf.what == what, Shelf.left > 0)
        if not taken.update({"left": Shelf.left - 1}):
            abort(404)
        stock.session.commit()
        return "taken"

    return app


def create_apps(url: str, directory: Path) -> list[Flask]:
    warehouse = create_warehouse(f"sqlite:///{directory / 'warehouse.db'}")
    return [create_front(url, warehouse), warehouse]


def story(app: Flask, warehouse: Flask) -> list[object]:
    client = Client(DispatcherMiddleware(app, {"/warehouse": warehouse}))
    calls = [("/warehouse/put/cup", {"number": "2"}), ("/sales/pot", {}), ("/sales/cup", {})]
    calls += [("/sales/cup", {}), ("/sales/cup", {}), ("/warehouse/put/cup", {"number": "1"})]
    answers = [client.post(path, data=data).status_code for path, data in calls]
    with app.app_context():
        sales = [one.what for one in Sale.query.order_by(Sale.id)]
    with warehouse.app_context():
        return [*answers, sales, [(one.what, one.left) for one in Shelf.query.all()]]
