"""Audited rows that the database changes or deletes with a parent, whatever wrote to that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    text,
    update,
)
from sqlalchemy.orm import sessionmaker

from auditspan import AuditTrail
from integration.library.test_statements import upsert
from integration.library.world import KEY, World
from support.replay import Kind


def parent(name: str, **info: bool) -> Table:
    """A table with a key, a unique code that others refer to, and another column."""
    columns = (Column("code", String(5), unique=True), Column("name", String(20)))
    return Table(name, METADATA, Column("id", Integer, primary_key=True), *columns, info=info)


METADATA = MetaData()
region, brand = parent("region"), parent("brand", audit=True)
district = Table(  # not audited, and between the two
    "district",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("region_id", ForeignKey("region.id", ondelete="CASCADE")),
)
shop = Table(
    "shop",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("district_id", ForeignKey("district.id", ondelete="CASCADE")),
    info={"audit": True},
)
sign = Table(  # follows the codes, and goes with nothing but a TRUNCATE
    "sign",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("region", ForeignKey("region.code", onupdate="CASCADE")),
    Column("brand", ForeignKey("brand.code", onupdate="CASCADE")),
    info={"audit": True},
)
law = Table(  # its own key follows that of a table that is not audited
    "law",
    METADATA,
    Column("region", ForeignKey("region.code", onupdate="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    info={"audit": True},
)
TABLES = [region, brand, district, shop, sign, law]
BEFORE = ["brand.create", "shop.create", "sign.create"]


@pytest.fixture
def shops(engine: Engine) -> Iterator[World]:
    """A region, a brand, a shop by the way of a district, and a sign of the brand."""
    sessions = sessionmaker(engine)
    world = World(
        engine=engine,
        trail=AuditTrail(sessions, metadata=METADATA, mac_key=KEY),
        sessions=sessions,
        tracer=TracerProvider().get_tracer("tests"),
        exporter=InMemorySpanExporter(),
        counts_span_events=False,
        kinds={one.name: Kind(table=one) for one in (brand, shop, sign, law)},
    )
    METADATA.create_all(engine, tables=TABLES)
    with world.unit_of_work() as session:
        for table in (region, brand):
            session.execute(insert(table).values(id=1, code="a"))
        session.execute(insert(district).values(id=1, region_id=1))
        session.execute(insert(shop).values(id=1, district_id=1))
        session.execute(insert(sign).values(id=1, brand="a"))
    yield world
    world.check()


def told(world: World) -> list[tuple[str, str, dict[str, Any]]]:
    """The action, the id and the changes of what was recorded behind the set-up."""
    made = world.events()[len(BEFORE) :]
    return [(one["action"], one["target"]["id"], one["changes"]) for one in made]


SHOP_GONE = ("shop.delete", "1", {"id": {"old": 1}, "district_id": {"old": 1}})
SIGN_GONE = (
    "sign.delete",
    "1",
    {"id": {"old": 1}, "region": {"old": None}, "brand": {"old": "a"}},
)


@pytest.mark.parametrize("key", ["code", region.c.code], ids=["name", "column"])
def test_rows_that_follow_a_key_set_by_an_upsert_are_recorded(shops: World, key: Any) -> None:
    """The upsert is of a table that is not audited; what sets no key changes nothing else."""
    with shops.unit_of_work() as session:
        session.execute(insert(sign).values(id=2, region="a"))
        one = upsert(session, region).values(id=1, code="z", name="n")
        session.execute(one.on_conflict_do_nothing(index_elements=["id"]))
        session.execute(one.on_conflict_do_update(index_elements=["id"], set_={"name": "n"}))
        found = one.on_conflict_do_update(index_elements=["id"], set_={key: one.excluded.code})
        session.execute(found)
    assert [("sign.update", "2", {"region": {"old": "a", "new": "z"}})] == told(shops)[1:]


def test_rows_that_follow_an_upsert_of_audited_rows_are_recorded(shops: World) -> None:
    """Changes by ON UPDATE CASCADE to the children of an audited row are in the trail as well."""
    with shops.unit_of_work() as session:
        rows = [{"id": 1, "code": "z"}, {"id": 2, "code": "b"}]
        statement = upsert(session, brand).values(rows)
        codes = {"code": statement.excluded.code}
        session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=codes))
    followed = ("sign.update", "1", {"brand": {"old": "a", "new": "z"}})
    changed = ("brand.update", "1", {"code": {"old": "a", "new": "z"}})
    added = (
        "brand.create",
        "2",
        {"id": {"new": 2}, "code": {"new": "b"}, "name": {"new": None}},
    )
    expected = {  # PostgreSQL cascades behind the statement
        "sqlite": [followed, changed, added],
        "postgresql": [changed, added, followed],
    }
    assert expected[shops.engine.dialect.name] == told(shops)


@pytest.mark.parametrize("by", ["statement", "text"])
def test_rows_whose_own_key_follows_are_recorded_under_the_new_one(shops: World, by: str) -> None:
    """The change tells the old key, so that the row is found under both."""
    changed: Any = update(region).values(code="z")
    if by == "text":
        changed = text("UPDATE region SET code = 'z'")
    with shops.unit_of_work() as session:
        session.execute(insert(law).values(region="a", number=1))
        session.execute(changed)
    assert ("law.update", '["z",1]', {"region": {"old": "a", "new": "z"}}) == told(shops)[-1]
    assert ["law.create", "law.update"] == [one[0] for one in told(shops)]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [insert(region).values(id=1, code="z"), update(region).where(region.c.id == 2).values(id=1)],
    ids=["insert", "update"],
)
def test_rows_that_go_with_a_displaced_parent_are_recorded(shops: World, statement: Any) -> None:
    """OR REPLACE deletes a row of a table that is not audited, and audited ones go with it."""
    with shops.unit_of_work() as session:
        session.execute(insert(region).values(id=2, code="b"))
        session.execute(statement.prefix_with("OR REPLACE"))
    assert [SHOP_GONE] == told(shops)


#: SQL that names only the region, the database it is for, and the changes that come of it.
TEXTS = [
    ("sqlite", "delete from region", [SHOP_GONE]),
    ("sqlite", "INSERT OR REPLACE INTO region (id, code) VALUES (1, 'z')", [SHOP_GONE]),
    ("sqlite", "REPLACE INTO region (id, code) VALUES (1, 'z')", [SHOP_GONE]),
    ("postgresql", "delete from region", [SHOP_GONE]),
    ("postgresql", "TRUNCATE region CASCADE", [SHOP_GONE, SIGN_GONE]),
    (
        "postgresql",
        "MERGE INTO region USING district ON true WHEN MATCHED THEN DELETE",
        [SHOP_GONE],
    ),
]
BY_TEXT = pytest.mark.parametrize(("engine", "sql", "expected"), TEXTS, indirect=["engine"])


@BY_TEXT
def test_rows_that_go_with_a_parent_deleted_by_text_are_recorded(
    shops: World, sql: str, expected: list[Any]
) -> None:
    """The database deletes them, and the trail has each; what takes none along leaves nothing."""
    with shops.unit_of_work() as session:
        session.execute(text("INSERT INTO region (id, code) VALUES (2, 'b')"))
        session.execute(text(sql))
    assert expected == sorted(told(shops))


@BY_TEXT
def test_rows_that_go_with_a_parent_are_counted_where_that_is_unaudited(
    shops: World, sql: str, expected: list[Any]
) -> None:
    """`type.statement` for each type of them, and nothing for the parent."""
    shops.kinds = {}
    with shops.unit_of_work() as session, shops.trail.unaudited(reason="cleanup"):
        session.execute(text(sql))
    types = [one[0].partition(".")[0] for one in expected]
    assert [f"{one}.statement" for one in types] == sorted(one[0] for one in told(shops))
    assert {"cleanup"} == {one["reason"] for one in shops.events()[len(BEFORE) :]}


def test_rows_that_go_with_an_unaudited_delete_are_counted(shops: World) -> None:
    """A Core statement takes the children along as a text does."""
    shops.kinds = {}
    with shops.unit_of_work() as session, shops.trail.unaudited(reason="cleanup"):
        session.execute(delete(region))
    assert [*BEFORE, "shop.statement"] == shops.actions()
    assert "cleanup" == shops.last()["reason"]
    assert {"statement": "delete", "rows": 1} == shops.last()["metadata"]
