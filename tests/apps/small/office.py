"""A back office of Flask-Admin, for staff who log in with Flask-Login."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView
from flask_login import LoginManager, UserMixin, current_user, login_user
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()
dbs = (db,)


class Clerk(db.Model, UserMixin):  # type: ignore[name-defined,misc]
    id = db.Column(db.Integer, primary_key=True)
    username = db.Column(db.String(30), nullable=False)


class Supplier(db.Model):  # type: ignore[name-defined,misc]
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(40), nullable=False)
    products = db.relationship("Product", back_populates="supplier")

    def __str__(self) -> str:
        return str(self.name)


class Product(db.Model):  # type: ignore[name-defined,misc]
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(40), nullable=False, unique=True)
    stock = db.Column(db.Integer, nullable=False, default=0)
    is_sold = db.Column(db.Boolean, nullable=False, default=True)
    supplier_id = db.Column(db.ForeignKey("supplier.id"))
    supplier = db.relationship(Supplier, back_populates="products")


class StaffView(ModelView):  # type: ignore[misc]
    column_editable_list = ("name",)

    def is_accessible(self) -> bool:
        return bool(current_user.is_authenticated)


def create_apps(url: str, _directory: Path) -> list[Flask]:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="tests", SQLALCHEMY_DATABASE_URI=url)
    db.init_app(app)
    LoginManager(app).user_loader(lambda key: db.session.get(Clerk, int(key)))
    admin = Admin(app, name="office")
    for model in (Supplier, Product):
        admin.add_view(StaffView(model, db))

    @app.post("/login/<name>")
    def login(name: str) -> str:
        clerk = Clerk(username=name)
        db.session.add(clerk)
        db.session.commit()
        login_user(clerk)
        return "hello"

    return [app]


def story(app: Flask) -> list[object]:
    client, pen = app.test_client(), {"name": "pen", "stock": "5", "is_sold": "y"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("/admin/supplier/new/", {"name": "nobody may"}),
        ("/login/kim", {}),
        ("/admin/supplier/new/", {"name": "acme"}),
        ("/admin/product/new/", pen | {"supplier": "1"}),
        ("/admin/product/new/", pen),
        ("/admin/product/new/", pen | {"name": ""}),
        ("/admin/product/new/", {"name": "ink", "stock": "1"}),
        ("/admin/product/edit/?id=1", pen | {"stock": "4"}),
        ("/admin/product/ajax/update/", {"list_form_pk": "1", "name": "biro"}),
        ("/admin/supplier/edit/?id=1", {"name": "acme", "products": ["1", "2"]}),
        ("/admin/product/delete/", {"id": "2"}),
        ("/admin/supplier/delete/", {"id": "1"}),
    ]
    answers = [client.post(path, data=data).status_code for path, data in calls]
    with app.app_context():
        rows = [(one.name, one.stock, one.is_sold) for one in Product.query.order_by(Product.id)]
        return [*answers, rows, [one.name for one in Supplier.query.order_by(Supplier.id)]]
