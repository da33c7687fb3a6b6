"""Forums, topics, posts and users."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Self

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, ForeignKey, PickleType, String, Table
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash

db = SQLAlchemy()


def now() -> datetime:
    """The time as the columns have it."""
    return datetime.now(UTC).replace(tzinfo=None)


class Saved:
    """What every object can do: save itself, and delete itself."""

    def save(self) -> Self:
        """Write and commit; every object of the session is expired."""
        db.session.add(self)
        db.session.commit()
        return self

    def delete(self) -> None:
        """Delete and commit."""
        db.session.delete(self)
        db.session.commit()


tracked = Table(
    "tracked",
    db.metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("topic_id", ForeignKey("topics.id", ondelete="CASCADE"), primary_key=True),
)


class User(Saved, db.Model):  # type: ignore[name-defined, misc]
    """A member; `last_seen` moves with every change of the row."""

    __tablename__ = "users"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(40), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200))
    last_seen: Mapped[datetime | None] = mapped_column(default=now, onupdate=now)
    post_count: Mapped[int] = mapped_column(default=0)
    settings: Mapped[dict[str, Any]] = mapped_column(
        MutableDict.as_mutable(PickleType), default=lambda: {"theme": "light", "signature": None}
    )
    tracked: Mapped[list[Topic]] = relationship(secondary=tracked, back_populates="trackers")

    @property
    def password(self) -> None:
        """A password can only be set."""
        raise AttributeError

    @password.setter
    def password(self, password: str) -> None:
        self.password_hash = generate_password_hash(password, "pbkdf2:sha256:10")

    def has_password(self, password: str) -> bool:
        """Whether this is the member's password."""
        return check_password_hash(self.password_hash, password)


class Forum(Saved, db.Model):  # type: ignore[name-defined, misc]
    """A forum, which counts its topics and posts and knows its last post."""

    __tablename__ = "forums"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(80))
    topic_count: Mapped[int] = mapped_column(default=0)
    post_count: Mapped[int] = mapped_column(default=0)
    last_post_id: Mapped[int | None] = mapped_column(
        ForeignKey("posts.id", use_alter=True, name="last_post", ondelete="SET NULL")
    )
    last_post: Mapped[Post | None] = relationship(foreign_keys=last_post_id, post_update=True)
    topics: Mapped[list[Topic]] = relationship(
        back_populates="forum", cascade="all, delete-orphan", order_by="Topic.id"
    )


class Topic(Saved, db.Model):  # type: ignore[name-defined, misc]
    """A topic; the database deletes its posts with it."""

    __tablename__ = "topics"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(80))
    views: Mapped[int] = mapped_column(default=0)
    forum_id: Mapped[int] = mapped_column(ForeignKey("forums.id"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    forum: Mapped[Forum] = relationship(back_populates="topics")
    user: Mapped[User | None] = relationship()
    posts: Mapped[list[Post]] = relationship(
        back_populates="topic", cascade="all, delete", passive_deletes=True, order_by="Post.id"
    )
    trackers: Mapped[list[User]] = relationship(
        secondary=tracked, back_populates="tracked", passive_deletes=True
    )


class Post(Saved, db.Model):  # type: ignore[name-defined, misc]
    """A post of a topic."""

    __tablename__ = "posts"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str]
    created: Mapped[datetime] = mapped_column(default=now)
    modified: Mapped[datetime | None] = mapped_column(onupdate=now)
    topic_id: Mapped[int] = mapped_column(ForeignKey("topics.id", ondelete="CASCADE"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    topic: Mapped[Topic] = relationship(back_populates="posts")
    user: Mapped[User | None] = relationship()
