"""A blog of blueprints, with Flask-Login, and with a schema by Flask-Migrate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flask_login
import flask_migrate
from flask import Blueprint, Flask, abort, request
from flask_login import current_user, login_required
from flask_sqlalchemy import SQLAlchemy
from werkzeug.security import check_password_hash, generate_password_hash

db = SQLAlchemy()
dbs = (db,)
auth, posts = Blueprint("auth", __name__), Blueprint("posts", __name__, url_prefix="/posts")

tagged = db.Table(
    "tagged",
    db.Column("post_id", db.ForeignKey("post.id"), primary_key=True),
    db.Column("tag", db.ForeignKey("tag.name"), primary_key=True),
)


class User(db.Model, flask_login.UserMixin):  # type: ignore[name-defined,misc]
    id = db.Column(db.Integer, primary_key=True)
    username = db.Column(db.String(30), unique=True, nullable=False)
    password_hash = db.Column(db.String(200), nullable=False)
    posts = db.relationship("Post", back_populates="author", cascade="all, delete-orphan")


class Post(db.Model):  # type: ignore[name-defined,misc]
    id = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String(80), nullable=False)
    author_id = db.Column(db.ForeignKey("user.id"), nullable=False)
    views = db.Column(db.Integer, nullable=False, default=0)
    author = db.relationship(User, back_populates="posts")
    tags = db.relationship("Tag", secondary=tagged, order_by="Tag.name")


class Tag(db.Model):  # type: ignore[name-defined,misc]
    name = db.Column(db.String(20), primary_key=True)


@auth.post("/register")
def register() -> str:
    hashed = generate_password_hash(request.form["password"], method="pbkdf2:sha256:1")
    db.session.add(User(username=request.form["username"], password_hash=hashed))
    db.session.commit()
    return "registered"


@auth.post("/login")
def login() -> str:
    user = User.query.filter_by(username=request.form["username"]).one()
    if not check_password_hash(user.password_hash, request.form["password"]):
        abort(401)
    flask_login.login_user(user)
    return f"hello {user.username}"


@auth.post("/leave")
@login_required
def leave() -> str:
    user = db.session.get(User, current_user.id)
    flask_login.logout_user()
    db.session.delete(user)
    db.session.commit()
    return "gone"


@posts.post("/")
@login_required
def write() -> str:
    tags = [db.session.merge(Tag(name=name)) for name in request.form.getlist("tag")]
    db.session.add(Post(title=request.form["title"], author=current_user, tags=tags))
    db.session.commit()
    return show(1)


@posts.post("/<int:key>")
@login_required
def edit(key: int) -> str:
    post = db.get_or_404(Post, key)
    post.title, post.tags = request.form["title"], []
    db.session.flush()
    if not post.title:
        abort(400)
    db.session.commit()
    return show(key)


@posts.get("/<int:key>")
def show(key: int) -> str:
    Post.query.filter_by(id=key).update({"views": Post.views + 1})
    db.session.commit()
    post = db.get_or_404(Post, key)
    return f"{post.title} by {post.author.username}, {post.views}, {[t.name for t in post.tags]}"


def create_apps(url: str, directory: Path) -> list[Flask]:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="tests", SQLALCHEMY_DATABASE_URI=url)
    db.init_app(app)
    flask_migrate.Migrate(app, db, directory=str(directory / "migrations"))
    flask_login.LoginManager(app).user_loader(lambda key: db.session.get(User, int(key)))
    app.register_blueprint(auth)
    app.register_blueprint(posts)
    return [app]


def story(app: Flask) -> list[object]:
    client, kim = app.test_client(), {"username": "kim", "password": "planted-secret"}
    guess = {**kim, "password": "guess"}
    calls: list[Any] = [("/register", kim), ("/login", guess), ("/login", kim)]
    calls += [("/posts/", {"title": "One", "tag": ["a", "b"]}), ("/posts/1", {"title": ""})]
    calls += [("/posts/1", {"title": "First"}), ("/leave", {}), ("/posts/", {"title": "Two"})]
    answers = [client.post(path, data=data) for path, data in calls]
    return [(answer.status_code, answer.text[:40]) for answer in [*answers, client.get("/posts/1")]]
