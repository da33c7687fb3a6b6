"""Audited rows that change or go with a parent: by an upsert, a replacing INSERT, a text of SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
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
    select,
    text,
    update,
)
from sqlalchemy.orm import sessionmaker

from auditspan import AuditTrail, UnauditedWriteError
from integration.library.test_replaced_and_raced import between, stranger
from integration.library.test_statements import upsert
from integration.library.world import KEY, World
from support.replay import Kind


def parent(name: str, **info: bool) -> Table:
    """A table with a key, a unique code that others refer to, and a column that nobody does."""
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
TABLES = [region, brand, district, shop, sign]
BEFORE = ["brand.create", "shop.create", "sign.create"]


def with_shops(engine: Engine, **options: Any) -> World:
    """A trail over these tables; they and what is in them are made if they are not there."""
    sessions = sessionmaker(engine)
    world = World(
        engine=engine,
        trail=AuditTrail(sessions, metadata=METADATA, mac_key=KEY, **options),
        sessions=sessions,
        tracer=TracerProvider().get_tracer("tests"),
        exporter=InMemorySpanExporter(),
        counts_span_events=False,
        kinds={one.name: Kind(table=one) for one in (brand, shop, sign)},
    )
    METADATA.create_all(engine, tables=TABLES)
    with world.unit_of_work() as session:
        for table in (region, brand):
            session.execute(insert(table).values(id=1, code="a"))
        session.execute(insert(district).values(id=1, region_id=1))
        session.execute(insert(shop).values(id=1, district_id=1))
        session.execute(insert(sign).values(id=1, brand="a"))
    return world


@pytest.fixture
def shops(engine: Engine) -> Iterator[World]:
    """A region, a brand, a shop by the way of a district, and a sign of the brand."""
    made = with_shops(engine)
    yield made
    made.check()


def test_an_upsert_is_refused_where_audited_rows_would_change_with_it(shops: World) -> None:
    """It sets what they refer to, in rows of a table that is not audited; other columns it may."""
    with shops.unit_of_work() as session:
        session.execute(insert(sign).values(id=2, region="a"))
        one = upsert(session, region).values(id=1, code="z", name="n")
        session.execute(one.on_conflict_do_nothing(index_elements=["id"]))
        session.execute(one.on_conflict_do_update(index_elements=["id"], set_={"name": "n"}))
        for key in ("code", region.c.code):
            found = one.on_conflict_do_update(index_elements=["id"], set_={key: one.excluded.code})
            with pytest.raises(UnauditedWriteError, match="upsert on 'region'"):
                session.execute(found)
    with shops.engine.connect() as connection:
        assert [("a", "n")] == list(connection.execute(select(region.c.code, region.c.name)))
        assert [None, "a"] == list(connection.scalars(select(sign.c.region).order_by(sign.c.id)))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [insert(region).values(id=1, code="z"), update(region).values(id=1)],
    ids=["insert", "update"],
)
def test_or_replace_is_refused_where_audited_rows_would_go_with_it(
    shops: World, statement: Any
) -> None:
    """The rows that it deletes of a table that is not audited take the others along."""
    with shops.unit_of_work() as session, pytest.raises(UnauditedWriteError, match="REPLACE"):
        session.execute(statement.prefix_with("OR REPLACE"))
    assert BEFORE == shops.actions()


def test_an_upsert_tells_what_changes_with_its_keys(shops: World) -> None:
    """What ON UPDATE CASCADE does to the children of an audited row is in the trail as well."""
    with shops.unit_of_work() as session:
        rows = [{"id": 1, "code": "z"}, {"id": 2, "code": "b"}]
        statement = upsert(session, brand).values(rows)
        codes = {"code": statement.excluded.code}
        session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=codes))
    made = shops.events()[len(BEFORE) :]
    assert ["sign.update", "brand.update", "brand.create"] == [one["action"] for one in made]
    assert {"brand": {"old": "a", "new": "z"}} == made[0]["changes"]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("table", [region, brand], ids=["unaudited", "audited"])
def test_nobody_adds_a_child_by_a_code_that_changes(shops: World, table: Table) -> None:
    """Who refers to a unique column that is no key waits too, from the look to the UPDATE."""
    errors: list[Exception] = []

    def intrude() -> None:
        try:
            stranger(shops.engine, f"INSERT INTO sign (id, {table}) VALUES (9, 'a')")()  # noqa: S608
        except Exception as error:  # noqa: BLE001 - the driver's own
            errors.append(error)

    with (
        between(shops.engine, f"UPDATE {table}", intrude) as acted,
        shops.unit_of_work() as session,
    ):
        session.execute(update(table).where(table.c.id == 1).values(code="z"))
    assert 1 == len(acted)
    assert ["LockNotAvailable"] == [type(error).__name__ for error in errors]


#: Texts that name only the region, the database they are for, and whose rows go with it.
TEXTS = [
    ("sqlite", "delete from region", ["shop"]),
    ("sqlite", "INSERT OR REPLACE INTO region (id, code) VALUES (1, 'z')", ["shop"]),
    ("sqlite", "REPLACE INTO region (id, code) VALUES (1, 'z')", ["shop"]),
    ("postgresql", "delete from region", ["shop"]),
    ("postgresql", "TRUNCATE region CASCADE", ["shop", "sign"]),
    ("postgresql", "MERGE INTO region USING district ON true WHEN MATCHED THEN DELETE", ["shop"]),
]


@pytest.mark.parametrize(("engine", "sql"), [one[:2] for one in TEXTS], indirect=["engine"])
def test_text_is_refused_where_audited_rows_would_go_with_its_table(shops: World, sql: str) -> None:
    """The database deletes them and nobody would tell which; what takes none along may run."""
    with shops.unit_of_work() as session:
        session.execute(text("INSERT INTO region (id, code) VALUES (2, 'b')"))
        with pytest.raises(UnauditedWriteError, match=r"(?s)region.*unaudited\(reason"):
            session.execute(text(sql))
    assert BEFORE == shops.actions()


@pytest.mark.parametrize(("engine", "sql", "types"), TEXTS, indirect=["engine"])
@pytest.mark.parametrize("excuse", ["unaudited", "lenient"])
def test_text_that_is_let_through_leaves_one_row_for_each_type_that_goes_with_it(
    engine: Engine, sql: str, types: list[str], excuse: str
) -> None:
    """Under `unaudited` and where the trail is not strict: `type.statement` for the children."""
    world = with_shops(engine, strict=excuse == "unaudited")
    around = world.trail.unaudited(reason="x") if excuse == "unaudited" else nullcontext()
    with world.unit_of_work() as session, around:
        session.execute(text(sql))
    assert [f"{one}.statement" for one in types] == sorted(world.actions()[len(BEFORE) :])
    with engine.connect() as connection:
        assert [] == list(connection.scalars(select(shop.c.id)))


def test_a_delete_that_is_let_through_leaves_a_row_for_what_goes_with_it(engine: Engine) -> None:
    """A Core statement under `unaudited` takes the children along as a text does."""
    world = with_shops(engine)
    with world.unit_of_work() as session, world.trail.unaudited(reason="cleanup"):
        session.execute(delete(region))
    assert [*BEFORE, "shop.statement"] == world.actions()
    assert "cleanup" == world.last()["reason"]
    with engine.connect() as connection:
        assert [] == list(connection.scalars(select(shop.c.id)))
