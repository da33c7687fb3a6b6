"""Models of every shape: inheritance, links, trees, tables without models, unaudited parents."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, String, Table, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from auditspan import Policy
from integration.library.models import Base
from support.replay import Kind, Links

post_tag = Table(
    "post_tag",
    Base.metadata,
    Column("tag_id", ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True),
    Column("post_id", ForeignKey("post.id", ondelete="CASCADE"), primary_key=True),
)
post_friend = Table(  # no primary key, as some applications have it
    "post_friend",
    Base.metadata,
    Column("post_id", ForeignKey("post.id")),
    Column("friend_id", ForeignKey("post.id")),
)


class Post(Base):
    """A parent of links, to others and to its own kind."""

    __tablename__ = "post"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50))
    tags: Mapped[list[Tag]] = relationship(
        secondary=post_tag, back_populates="posts", passive_deletes=True
    )
    friends: Mapped[list[Post]] = relationship(
        secondary=post_friend,
        primaryjoin=lambda: Post.id == post_friend.c.post_id,
        secondaryjoin=lambda: Post.id == post_friend.c.friend_id,
    )


class Tag(Base):
    """The other side of a link."""

    __tablename__ = "tag"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    posts: Mapped[list[Post]] = relationship(
        secondary=post_tag, back_populates="tags", passive_deletes=True
    )


class Node(Base):
    """A tree: the database deletes its branches with it, and keeps its watchers."""

    __tablename__ = "node"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("node.id", ondelete="CASCADE"))
    children: Mapped[list[Node]] = relationship(passive_deletes=True, cascade="all, delete")


class Watcher(Base):
    """Its key into the tree becomes NULL, by the database."""

    __tablename__ = "watcher"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[int | None] = mapped_column(ForeignKey("node.id", ondelete="SET NULL"))


class Folder(Base):
    """Not audited, but what is in it is, and goes with it."""

    __tablename__ = "folder"

    id: Mapped[int] = mapped_column(primary_key=True)


class Shelf(Base):
    """Not audited either, and between the two."""

    __tablename__ = "shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    folder_id: Mapped[int] = mapped_column(ForeignKey("folder.id", ondelete="CASCADE"))


class Paper(Base):
    """Audited, at the end of a chain that is not."""

    __tablename__ = "paper"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelf.id", ondelete="CASCADE"))


class Country(Base):
    """Its key may change, and the database changes it where it is used."""

    __tablename__ = "country"
    __audit__ = True

    code: Mapped[str] = mapped_column(String(10), primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


class City(Base):
    """Follows the key of its country."""

    __tablename__ = "city"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(ForeignKey("country.code", onupdate="CASCADE"))


class Worker(Base):
    """The base of joined inheritance."""

    __tablename__ = "worker"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(50))

    __mapper_args__: dict[str, Any] = {  # noqa: RUF012 - as SQLAlchemy has it
        "polymorphic_on": "kind",
        "polymorphic_identity": "worker",
    }


class Engineer(Worker):
    """One row in each of two tables."""

    __tablename__ = "engineer"

    id: Mapped[int] = mapped_column(ForeignKey("worker.id"), primary_key=True)
    field: Mapped[str | None] = mapped_column(String(50))

    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012


class Animal(Base):
    """The base of single-table inheritance."""

    __tablename__ = "animal"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(50))

    __mapper_args__: dict[str, Any] = {  # noqa: RUF012
        "polymorphic_on": "kind",
        "polymorphic_identity": "animal",
    }


class Dog(Animal):
    """Columns of its own in the table of all."""

    trick: Mapped[str | None] = mapped_column(String(50))

    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Cat(Animal):
    """Others."""

    lives: Mapped[int | None]

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


class Unit(Base):
    """A head that belongs to it: two rows that need each other (`post_update`)."""

    __tablename__ = "unit"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    head_id: Mapped[int | None] = mapped_column(
        ForeignKey("member.id", use_alter=True, name="unit_head")
    )
    head: Mapped[Member | None] = relationship(
        post_update=True, foreign_keys=lambda: [Unit.__table__.c.head_id]
    )


class Member(Base):
    """Belongs to a unit."""

    __tablename__ = "member"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("unit.id"))


class Article(Base):
    """Attributes that are not called like their columns, and values from everywhere."""

    __tablename__ = "article"
    __audit__ = Policy(redact={"iban"})

    key: Mapped[int] = mapped_column("id", primary_key=True)
    code: Mapped[str] = mapped_column("articleCode", String(20), unique=True)
    stock: Mapped[int] = mapped_column("in_stock", default=0, server_default="3")
    iban: Mapped[str | None] = mapped_column(String(50))
    values: Mapped[str | None] = mapped_column(String(50))
    seen: Mapped[int] = mapped_column(default=0, onupdate=1)


rate = Table(
    "rate",
    Base.metadata,
    Column("currency", String(3), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("value", Integer),
    Column("source_token", String(50)),
    UniqueConstraint("currency", "value", name="rate_value"),
    info={"audit": True},
)


def _plain(model: type[Base], **options: Any) -> Kind:
    return Kind(table=model.__table__, **options)


def _of_kind(model: type[Base], value: str, *columns: Any) -> Kind:
    table: Any = model.__table__
    parent = table if "kind" in table.c else Worker.__table__
    source = table if parent is table else table.join(parent)
    statement = select(*columns).select_from(source).where(parent.c.kind == value)
    return Kind(table=statement.subquery(), key_names=("id",))


_worker, _engineer, _animal = (m.__table__.c for m in (Worker, Engineer, Animal))

SHAPES = {
    "post": _plain(
        Post,
        links={
            "tags": Links(table=post_tag, parent="post_id", child="tag_id"),
            "friends": Links(table=post_friend, parent="post_id", child="friend_id"),
        },
    ),
    "tag": _plain(Tag),
    "node": _plain(Node),
    "watcher": _plain(Watcher),
    "paper": _plain(Paper),
    "country": _plain(Country),
    "city": _plain(City),
    "worker": _of_kind(Worker, "worker", _worker.id, _worker.kind, _worker.name),
    "engineer": _of_kind(
        Engineer, "engineer", _worker.id, _worker.kind, _worker.name, _engineer.field
    ),
    "animal": _of_kind(Animal, "animal", _animal.id, _animal.kind, _animal.name),
    "dog": _of_kind(Animal, "dog", _animal.id, _animal.kind, _animal.name, _animal.trick),
    "cat": _of_kind(Animal, "cat", _animal.id, _animal.kind, _animal.name, _animal.lives),
    "unit": _plain(Unit),
    "member": _plain(Member),
    "article": _plain(Article, hidden=frozenset({"iban"})),
    "rate": Kind(table=rate, hidden=frozenset({"source_token"})),
}
