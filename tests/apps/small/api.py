"""A JSON API with tokens of Flask-JWT-Extended and schemas of marshmallow."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from flask import Flask, request
from flask.typing import ResponseReturnValue
from flask.views import MethodView
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    get_jwt_identity,
    jwt_required,
    verify_jwt_in_request,
)
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, ValidationError, fields, post_load, validate
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from auditspan import Actor

db = SQLAlchemy()
dbs = (db,)


class Item(db.Model):  # type: ignore[name-defined,misc]
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(40), unique=True, nullable=False)
    price = db.Column(db.Numeric(8, 2), nullable=False)
    options = db.Column(db.JSON)
    owner = db.Column(db.String(20))
    version = db.Column(db.Integer, nullable=False)
    __mapper_args__: ClassVar[dict[str, Any]] = {"version_id_col": version}


class ItemSchema(Schema):
    id = fields.Integer(dump_only=True)
    version = fields.Integer(dump_only=True)
    owner = fields.String(dump_only=True)
    name = fields.String(required=True, validate=validate.Length(1, 40))
    price = fields.Decimal(required=True, as_string=True, places=2)
    options = fields.Dict()

    @post_load
    def make(self, data: dict[str, Any], **_options: object) -> Item | dict[str, Any]:
        return data if self.partial else Item(owner=get_jwt_identity(), **data)


schema = ItemSchema()


class Items(MethodView):
    decorators: ClassVar[list[Any]] = [jwt_required()]

    def get(self) -> ResponseReturnValue:
        return schema.dump(db.session.scalars(db.select(Item).order_by(Item.id)), many=True)

    def post(self) -> ResponseReturnValue:
        item = schema.load(request.get_json())
        db.session.add(item)
        db.session.commit()
        return schema.dump(item), 201


class OneItem(MethodView):
    decorators: ClassVar[list[Any]] = [jwt_required()]

    def patch(self, key: int) -> ResponseReturnValue:
        item = db.get_or_404(Item, key)
        for name, value in ItemSchema(partial=True).load(request.get_json()).items():
            setattr(item, name, value)
        db.session.commit()
        return schema.dump(item)

    def delete(self, key: int) -> ResponseReturnValue:
        db.session.delete(db.get_or_404(Item, key))
        db.session.commit()
        return "", 204


def actor() -> Actor:
    """The actor of an audited API: the identity of the token."""
    verify_jwt_in_request(optional=True)
    user = get_jwt_identity()
    return Actor.user(user) if user else Actor.anonymous()


def refused(_error: Exception) -> ResponseReturnValue:
    db.session.rollback()
    return {}, 409


def create_apps(url: str, _directory: Path) -> list[Flask]:
    app = Flask(__name__)
    app.config.update(JWT_SECRET_KEY="tests" * 8, SQLALCHEMY_DATABASE_URI=url)
    db.init_app(app)
    JWTManager(app)
    app.add_url_rule("/items", view_func=Items.as_view("items"))
    app.add_url_rule("/items/<int:key>", view_func=OneItem.as_view("item"))
    app.post("/tokens")(lambda: {"token": create_access_token(request.get_json()["name"])})
    app.register_error_handler(ValidationError, lambda error: (error.messages_dict, 422))
    app.register_error_handler(IntegrityError, refused)
    app.register_error_handler(StaleDataError, refused)
    return [app]


def story(app: Flask) -> list[object]:
    client, cup = app.test_client(), {"name": "cup", "price": "2.50", "options": {"sizes": [1, 2]}}
    token = client.post("/tokens", json={"name": "kim"}).get_json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    calls: list[tuple[str, str, Any]] = [("POST", "/items", cup), ("POST", "/items", cup)]
    calls += [("POST", "/items", {"name": ""}), ("PATCH", "/items/1", {"price": "3"})]
    calls += [("PATCH", "/items/1", {"options": {}}), ("PATCH", "/items/7", {})]
    calls += [("POST", "/items", cup | {"name": "lid"}), ("DELETE", "/items/1", None)]
    answers = [client.open(p, method=m, json=j, headers=headers) for m, p, j in calls]
    answers += [client.get("/items", headers=headers), client.get("/items")]
    return [(answer.status_code, answer.get_json(silent=True)) for answer in answers]
