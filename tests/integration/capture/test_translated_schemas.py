"""Tenants with a schema each, by `schema_translate_map`."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    delete,
    insert,
    update,
)
from sqlalchemy.orm import Session, sessionmaker

from auditspan import AuditTrail, AuditWriteError, audit_context
from auditspan.seal.guards.check import check_guards
from auditspan.seal.sealer import Sealer
from auditspan.seal.undrained import Undrained
from auditspan.storage.events import history
from integration.capture.application import KEY, KIM, Application
from integration.capture.test_leftovers import outside

NAMES = ("ada", 'Bob "B"')


@pytest.fixture(params=[None, "tenant"])
def tenants(request: pytest.FixtureRequest, postgresql_engine: Engine) -> list[Application]:
    """The same models in two schemas, whether or not the models name a schema."""
    metadata = MetaData(schema=request.param)
    Table(
        "item",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("n", Integer),
        info={"audit": True},
    )
    sessions = sessionmaker[Session]()
    trail = AuditTrail(sessions, metadata=metadata, mac_key=KEY)
    quote = postgresql_engine.dialect.identifier_preparer.quote
    made = []
    for name in NAMES:
        with postgresql_engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {quote(name)}")
        engine = postgresql_engine.execution_options(schema_translate_map={request.param: name})
        metadata.create_all(engine)
        made.append(Application(engine=engine, metadata=metadata, sessions=sessions, trail=trail))
    return made


def item_of(tenant: Application) -> Table:
    """The table of the models."""
    (item,) = (table for table in tenant.metadata.tables.values() if table.name == "item")
    return item


def write(tenant: Application, id_: int) -> None:
    """Make two items, then change one and delete the other for another reason."""
    item = item_of(tenant)
    with tenant.sessions(bind=tenant.engine) as session, session.begin():
        with audit_context(actor=KIM):
            session.execute(insert(item), [{"id": id_, "n": 1}, {"id": id_ + 1, "n": 1}])
        with audit_context(actor=KIM, reason="later"):
            session.execute(update(item).where(item.c.id == id_).values(n=2))
            session.execute(delete(item).where(item.c.id == id_ + 1))


def test_each_tenant_has_the_records_of_its_own_rows(tenants: list[Application]) -> None:
    """What is written through either engine is recorded in its schema, in its context."""
    for number, tenant in enumerate(tenants, 1):
        write(tenant, 10 * number)
    expected = [
        [
            ("item.create", str(first), None),
            ("item.create", str(first + 1), None),
            ("item.update", str(first), "later"),
            ("item.delete", str(first + 1), "later"),
        ]
        for first in (10, 20)
    ]
    assert expected == [
        [(e["action"], e["target"]["id"], e["reason"]) for e in tenant.events()]
        for tenant in tenants
    ]
    for tenant in tenants:
        tenant.check()


def test_history_is_that_of_the_tenant(tenants: list[Application]) -> None:
    """The same key in two schemas has a history in each."""
    write(tenants[0], 1)
    found = []
    for tenant in tenants:
        with tenant.engine.connect() as connection:
            events = history(connection, tenant.trail.tables, "item", "1")
        found.append([json.loads(event.body)["action"] for event in events])
    assert [["item.create", "item.update"], []] == found


def test_sealer_with_map_and_search_path_seals_one_tenant(tenants: list[Application]) -> None:
    """A sealer whose engine has the map and the search path of a tenant seals its rows."""
    write(tenants[0], 1)
    write(tenants[1], 1)
    made = create_engine(tenants[0].engine.url, connect_args={"options": "-csearch_path=ada"})
    engine = made.execution_options(**tenants[0].engine.get_execution_options())
    assert 4 == Sealer(engine, tenants[0].trail.tables).seal()
    made.dispose()


def test_guards_and_worker_use_the_translated_schema(tenants: list[Application]) -> None:
    """No trigger is missing, and what another program wrote is recorded in its schema."""
    outside(tenants[0], "INSERT INTO ada.item VALUES (1, 1)")
    for tenant in tenants:
        Undrained(tenant.engine, tenant.trail.tables, mac_key=KEY).record()
        with tenant.engine.connect() as connection:
            found = check_guards(connection, tenant.trail.tables)
        assert [] == [one.detail for one in found if one.kind in {"trigger", "foreign", "setting"}]
    assert [["item.create"], []] == [[e["action"] for e in one.events()] for one in tenants]


def test_map_of_a_connection_is_followed(
    tenants: list[Application], postgresql_engine: Engine
) -> None:
    """A session that sets the map on its connection records in the schema of that tenant."""
    tenant = tenants[1]
    options = tenant.engine.get_execution_options()
    with audit_context(actor=KIM), tenant.sessions(bind=postgresql_engine) as session:
        session.connection(execution_options=dict(options))
        session.execute(insert(item_of(tenant)).values(id=1))
        session.commit()
    assert [[], ["item.create"]] == [[e["action"] for e in one.events()] for one in tenants]
    tenant.check()


def test_map_of_a_single_statement_is_refused(
    tenants: list[Application], postgresql_engine: Engine
) -> None:
    """Without the map on its connection, a write has no audit tables and fails."""
    tenant = tenants[0]
    options = dict(tenant.engine.get_execution_options())
    with (
        audit_context(actor=KIM),
        tenant.sessions(bind=postgresql_engine) as session,
        pytest.raises(AuditWriteError, match="audit tables do not exist"),
    ):
        session.execute(insert(item_of(tenant)).values(id=1), execution_options=options)
    assert [] == tenant.events()


def test_models_alone_in_a_translated_schema_share_one_trail(postgresql_engine: Engine) -> None:
    """Audit tables without a translated schema hold the records of every tenant."""
    metadata = MetaData()
    key = Column("id", Integer, primary_key=True)
    item = Table("item", metadata, key, schema="tenant", info={"audit": True})
    sessions = sessionmaker[Session]()
    trail = AuditTrail(sessions, metadata=metadata, mac_key=KEY)
    for number, name in enumerate(("ada", "bob")):
        with postgresql_engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {name}")
        engine = postgresql_engine.execution_options(schema_translate_map={"tenant": name})
        metadata.create_all(engine)
        with audit_context(actor=KIM), sessions(bind=engine) as session, session.begin():
            session.execute(insert(item).values(id=number))
    shared = Application(
        engine=postgresql_engine, metadata=metadata, sessions=sessions, trail=trail
    )
    assert [("item.create", "0"), ("item.create", "1")] == [told[:2] for told in shared.told()]
