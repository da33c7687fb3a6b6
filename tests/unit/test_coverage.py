"""Coverage: which models have a decision, what is said of those that have none, and the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, ForeignKey, Integer, String, Table
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    declared_attr,
    mapped_column,
    relationship,
    sessionmaker,
)

from auditspan import AuditConfigError, AuditTrail, Policy
from auditspan.mapping.policy import Exempt
from auditspan.storage.tables import audit_tables
from auditspan.verify.decisions import Decision, coverage, metadata_of
from auditspan_service.cli import main
from auditspan_service.models import Base as ServiceBase

NAMED = "write `__audit__ = True` or `__audit__ = Policy(...)` to audit it, or "
EXEMPT = '`__audit__ = Exempt("why it is not audited")`'


@pytest.fixture
def base() -> Iterator[Any]:
    """A declarative base, whose mappers are gone afterwards."""

    class Base(DeclarativeBase):
        pass

    yield Base
    Base.registry.dispose()


def model(base: Any, name: str, decision: Any = None, **members: Any) -> Any:
    """A model with this `__audit__`."""
    if decision is not None:
        members["__audit__"] = decision
    if "__mapper_args__" not in members:
        members |= {
            "__tablename__": name.lower(),
            "id": mapped_column(Integer, primary_key=True),
        }
    class_ = type(name, (base,), {"__module__": "shop", **members})
    _kept.append(class_)
    return class_


_kept: list[Any] = []
"""Mappers are collected with their classes, like the modules of an application."""


def found(base: Any) -> dict[str, Decision]:
    """The decisions by class, or by table where there is no class."""
    return {one.model or one.table: one for one in coverage(base.metadata)}


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (True, ("audited", "invoice", None, None)),
        (Policy(name="bill"), ("audited", "bill", None, None)),
        (Exempt("a cache"), ("exempt", None, "a cache", None)),
        (False, ("missing", None, None, f"False gives no reason; write {EXEMPT}")),
        (None, ("missing", None, None, NAMED + EXEMPT)),
    ],
    ids=repr,
)
def test_a_model_is_audited_exempt_or_missing(base: Any, decision: Any, expected: Any) -> None:
    """An audited model has a type, an exempt one a reason, a missing one advice."""
    model(base, "Invoice", decision)
    (one,) = coverage(base.metadata)
    assert ("shop.Invoice", "invoice") == (one.model, one.table)
    assert expected == (one.decision, one.type, one.reason, one.advice)


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_an_exemption_needs_a_reason(reason: str) -> None:
    """An empty reason is refused where it is written."""
    with pytest.raises(AuditConfigError, match="missing reason"):
        Exempt(reason)


def test_a_subclass_inherits_the_decision(base: Any) -> None:
    """And may have another one; each class stands under its own type."""
    args = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}
    members = {
        "__tablename__": "animal",
        "__mapper_args__": args,
        "id": mapped_column(Integer, primary_key=True),
        "kind": mapped_column(String),
    }
    animal = model(base, "Animal", decision=True, **members)
    model(animal, "Cat", __mapper_args__={"polymorphic_identity": "cat"})
    other = {"polymorphic_identity": "dog"}
    model(animal, "Dog", decision=Exempt("they come and go"), __mapper_args__=other)
    assert {"shop.Animal": "animal", "shop.Cat": "cat", "shop.Dog": None} == {
        name: one.type for name, one in found(base).items()
    }


def test_models_and_tables_are_in_order(base: Any) -> None:
    """Models come first, by name."""
    Table("aaa", base.metadata, Column("id", Integer, primary_key=True))
    model(base, "Zebra", decision=True)
    model(base, "Ape", decision=True)
    assert ["shop.Ape", "shop.Zebra", "aaa"] == list(found(base))


def test_a_table_without_a_model_is_decided_by_its_info(base: Any) -> None:
    """`info` takes what `__audit__` takes; a table without it is missing."""
    key = {"audited": True, "named": Policy(name="x"), "exempt": Exempt("a view"), "no": False}
    for name, decision in key.items():
        Table(
            name, base.metadata, Column("id", Integer, primary_key=True), info={"audit": decision}
        )
    Table("bare", base.metadata, Column("id", Integer, primary_key=True))
    decisions = found(base)
    assert {
        "audited": ("audited", "audited"),
        "named": ("audited", "x"),
        "exempt": ("exempt", None),
        "no": ("missing", None),
        "bare": ("missing", None),
    } == {name: (one.decision, one.type) for name, one in decisions.items()}
    assert '`info={"audit": True}`' in str(decisions["bare"].advice)
    assert None is decisions["bare"].model


@pytest.mark.parametrize(
    ("decision", "expected"), [(True, ("audited", "post")), (Exempt("x"), ("missing", None))]
)
def test_a_link_table_goes_with_its_audited_parent(base: Any, decision: Any, expected: Any) -> None:
    """It is told as a change of the parent; without an audited parent it needs a decision."""
    link = Table(
        "post_tag",
        base.metadata,
        Column("post_id", ForeignKey("post.id"), primary_key=True),
        Column("tag_id", ForeignKey("tag.id"), primary_key=True),
    )
    tag = model(base, "Tag", Exempt("fixed"))
    model(base, "Post", decision, tags=relationship(tag, secondary=link))
    one = found(base)["post_tag"]
    assert expected == (one.decision, one.type)


def test_the_tables_of_alembic_and_of_the_trail_are_not_listed(base: Any) -> None:
    """The models have no decision."""
    audit_tables(base.metadata)
    Table("alembic_version", base.metadata, Column("version_num", Integer, primary_key=True))
    assert [] == coverage(base.metadata)


def test_another_application_is_left_alone(base: Any) -> None:
    """Only what is on the metadata in question is listed."""
    model(base, "Invoice", decision=True)
    assert {"ApiKey", "IdempotencyKey", "KeyUse", "None", "Role", "User"} == {
        str(one.model).rpartition(".")[2] for one in coverage(ServiceBase.metadata)
    }


def test_an_abstract_base_needs_no_decision(base: Any) -> None:
    """It has no rows."""

    class Dated(base):  # type: ignore[misc]
        __abstract__ = True

        @declared_attr.directive
        def __tablename__(cls) -> str:  # noqa: N805 (SQLAlchemy calls it on the class)
            return "dated"

        id: Mapped[int] = mapped_column(primary_key=True)

    assert {} == found(base)
    type("Invoice", (Dated,), {"__module__": "shop", "__audit__": True})
    assert ["shop.Invoice"] == list(found(base))


def test_metadata_is_found_behind_every_kind_of_application(base: Any) -> None:
    """A metadata, a base, a trail, Flask-SQLAlchemy's `db`, and a Flask application with it."""
    trail = AuditTrail(sessionmaker(), metadata=base.metadata)
    app = Flask("shop")
    app.config |= {
        "SQLALCHEMY_DATABASE_URI": "sqlite://",
        "SQLALCHEMY_BINDS": {"other": "sqlite://"},
    }
    db = SQLAlchemy(app)
    for one in (base.metadata, base, trail):
        assert [base.metadata] == metadata_of(one)
    assert [db.metadatas[None], db.metadatas["other"]] == metadata_of(db) == metadata_of(app)


@pytest.mark.parametrize("thing", [None, 7, Flask("bare"), sessionmaker()], ids=repr)
def test_target_without_models_is_refused(thing: Any) -> None:
    """With a sentence that says what would do."""
    with pytest.raises(AuditConfigError, match="pass a MetaData"):
        metadata_of(thing)


SHOP = """
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from auditspan import Exempt

class Base(DeclarativeBase): pass

class Invoice(Base):
    __tablename__ = "invoice"
    __audit__ = {invoice}
    id: Mapped[int] = mapped_column(primary_key=True)

class Cache(Base):
    __tablename__ = "cache"
    __audit__ = Exempt("can be computed again")
    id: Mapped[int] = mapped_column(primary_key=True)

nothing = MetaData()
number = 7
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes modules of an application in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")

    yield write
    for name in [name for name in sys.modules if name.startswith("shop_")]:
        base = getattr(sys.modules.pop(name), "Base", None)
        if base is not None:
            base.registry.dispose()  # a wrong model must not meet the tests that come next


def run(*arguments: str) -> Result:
    """The command."""
    return CliRunner().invoke(main, ["coverage", *arguments], prog_name="auditspan")


def test_the_models_of_the_service_are_covered() -> None:
    """Every one of them is audited, but the last uses of keys."""
    done = run("--json")
    assert 0 == done.exit_code
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [
        *(("audited", "api_key"), ("exempt", None), ("exempt", None)),
        *(("audited", "role"), ("audited", "user")),
        ("audited", "user"),  # the roles of a user
    ] == [(row["decision"], row["type"]) for row in rows]
    assert {"model", "table", "decision", "type", "reason", "advice"} == set(rows[0])


def test_a_model_without_a_decision_ends_with_1(shop: Any) -> None:
    """It is named, with what to write; what is decided is listed."""
    shop("shop_gap", SHOP.format(invoice="False"))
    done = run("--app", "shop_gap:Base")
    assert 1 == done.exit_code
    assert f"shop_gap.Invoice has no decision: False gives no reason; write {EXEMPT}" in done.stdout
    assert "shop_gap.Cache    cache    exempt    -     can be computed again" in done.stdout
    assert done.stdout.endswith("0 audited, 1 exempt, 1 without a decision\n")
    lines = run("--app", "shop_gap:Base", "--json").stdout.splitlines()
    assert ["exempt", "missing"] == [json.loads(line)["decision"] for line in lines]


def test_an_application_that_is_covered_ends_with_0(shop: Any) -> None:
    """Audited, and exempt with a reason."""
    shop("shop_whole", SHOP.format(invoice="True"))
    done = run("--app", "shop_whole:Base.metadata")
    assert 0 == done.exit_code
    assert done.stdout.endswith("1 audited, 1 exempt, 0 without a decision\n")


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("shop_bad", "expected MODULE:ATTRIBUTE, such as shop:trail."),
        (":Base", "expected MODULE:ATTRIBUTE, such as shop:trail."),
        (
            "shop_nowhere:Base",
            "module shop_nowhere was not found in this directory or on Python's path.",
        ),
        ("shop_bad:Bas", "shop_bad has no Bas; did you mean Base?"),
        ("shop_bad:Base.metadata.x", "shop_bad has no Base.metadata.x"),
        ("shop_bad:number", "pass a MetaData"),
        ("shop_bad:nothing", "No models were found"),
        ("shop_bad:Base", "'yes'"),
        ("shop_needs:Base", "shop_needs needs shop_missing, which is not installed."),
        ("shop_fails:Base", "importing shop_fails failed with ZeroDivisionError"),
    ],
)
def test_unusable_target_exits_with_2(shop: Any, app: str, sentence: str) -> None:
    """The sentence says what is wrong with the name, the module or its models."""
    shop("shop_bad", SHOP.format(invoice="'yes'") if app == "shop_bad:Base" else _FINE)
    shop("shop_needs", "import shop_missing")
    shop("shop_fails", "1 / 0")
    done = run("--app", app)
    assert (2, "") == (done.exit_code, done.stdout)
    assert sentence in done.stderr


_FINE = SHOP.format(invoice="True")
