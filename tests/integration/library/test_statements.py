"""Every way to write that is not the unit of work: one audit row per changed record.

Each case is run twice, once with capture off in a savepoint that is rolled back: what the caller
gets must be the same. The oracle of the fixture then replays the trail against the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Compiled, bindparam, case, delete, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from auditspan.storage.audit_change import STAGING
from integration.library.models import Account, Base, Person, Plain, Seat, Team
from integration.library.shapes import (
    Animal,
    Article,
    Cat,
    Dog,
    Engineer,
    Post,
    Tag,
    Worker,
    post_friend,
    post_tag,
    rate,
)
from integration.library.world import World

Case = Callable[[Any], Any]
"""Work on a session; its results are of many types."""
CASES: dict[str, tuple[Case, list[str]]] = {}

team: Any = Team.__table__
article: Any = Article.__table__
seat: Any = Seat.__table__


def case_(*actions: str) -> Callable[[Case], Case]:
    """Register a case with the actions that must be in the trail after it."""

    def register(work: Case) -> Case:
        CASES[work.__name__] = (work, list(actions))
        return work

    return register


def as_compiled(statement: Any, bind: Any) -> Any:
    """The statement compiled beforehand, where SQLAlchemy still executes that (2.0)."""
    return statement.compile(bind) if hasattr(Compiled, "_execute_on_connection") else statement


def upsert(session: Session, table: Any) -> Any:
    """INSERT in the dialect that knows ON CONFLICT."""
    dialect = session.get_bind().dialect.name
    return {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[dialect](table)


@case_("team.update", "team.update")
def update_with_a_value(s: Any) -> Any:
    return s.execute(update(Team).where(Team.id <= 2).values(name="all")).rowcount


@case_("team.update")
def update_of_some_that_are_so_already(s: Any) -> Any:
    return s.execute(update(Team).where(Team.id <= 2).values(name="one")).rowcount


@case_("team.update", "team.update", "team.update")
def update_with_an_expression(s: Any) -> Any:
    statement = update(Team).values(name=Team.name + "!")
    return s.execute(statement, execution_options={"synchronize_session": False}).rowcount


@case_("team.update", "team.update", "team.update")
def update_synchronized_by_fetch(s: Any) -> Any:
    teams = s.scalars(select(Team).order_by(Team.id)).all()
    statement = update(Team).values(name=func.upper(Team.name))
    count = s.execute(statement, execution_options={"synchronize_session": "fetch"}).rowcount
    return count, [t.name for t in teams]


@case_("team.update", "team.update")
def update_synchronized_by_evaluation(s: Any) -> Any:
    teams = s.scalars(select(Team).order_by(Team.id)).all()
    statement = update(Team).where(Team.name != "one").values(name="same")
    count = s.execute(statement, execution_options={"synchronize_session": "evaluate"}).rowcount
    return count, [t.name for t in teams]


@case_("team.update", "team.update")
def update_returning_columns(s: Any) -> Any:
    statement = update(team).where(team.c.id > 1).values(name="x").returning(team.c.name, team.c.id)
    return sorted(tuple(row) for row in s.execute(statement))


@case_("team.update")
def update_returning_objects(s: Any) -> Any:
    return [
        t.name for t in s.scalars(update(Team).where(Team.id == 3).values(name="x").returning(Team))
    ]


@case_("team.update", "team.update")
def update_by_a_list_of_parameters(s: Any) -> Any:
    statement = update(team).where(team.c.id == bindparam("which")).values(name=bindparam("new"))
    parameters = [{"which": 1, "new": "a"}, {"which": 2, "new": "b"}]
    return s.connection().execute(statement, parameters).rowcount


@case_("team.update", "team.update")
def update_by_primary_key(s: Any) -> Any:
    s.execute(update(Team), [{"id": 1, "name": "a"}, {"id": 3, "name": "c"}])


@case_("team.update")
def bulk_update_mappings(s: Any) -> Any:
    s.bulk_update_mappings(Team, [{"id": 1, "name": "a"}, {"id": 2, "name": "two"}])


@case_("team.update", "team.update")
def update_from_another_table(s: Any) -> Any:
    s.execute(insert(Plain), [{"id": 1, "name": "p"}, {"id": 2, "name": "q"}])
    statement = update(team).where(team.c.id == Plain.id).values(name=Plain.name)
    return s.execute(statement).rowcount


@case_("team.update")
def update_by_a_subquery(s: Any) -> Any:
    last = select(func.max(team.c.id)).scalar_subquery()
    return s.execute(update(team).where(team.c.id == last).values(name="last")).rowcount


@case_("team.update")
def update_by_a_cte_that_reads(s: Any) -> Any:
    some = select(team.c.id).where(team.c.name == "two").cte("some")
    return s.execute(update(team).where(team.c.id.in_(select(some.c.id))).values(name="x")).rowcount


@case_("team.update", "team.update")
def update_the_same_statement_twice_with_other_values(s: Any) -> Any:
    counts = []
    for which, name in [(1, "a"), (2, "b")]:
        counts.append(
            s.execute(update(team).where(team.c.id.in_([which, 99])).values(name=name)).rowcount
        )
    return counts


@case_("team.update", "team.update", "team.update")
def update_with_different_values_by_case(s: Any) -> Any:
    value = case((team.c.id == 1, literal("first")), else_="other")
    return s.execute(update(team).values(name=value)).rowcount


@case_()
def update_that_matches_nothing(s: Any) -> Any:
    return s.execute(update(team).where(team.c.id == 99).values(name="x")).rowcount


@case_("seat.update", "seat.update")
def update_of_a_key_by_an_expression(s: Any) -> Any:
    return s.execute(
        update(seat).where(seat.c.row == "a").values(number=Seat.number + 100)
    ).rowcount


@case_("seat.update")
def update_of_a_key_by_a_value(s: Any) -> Any:
    return s.execute(
        update(seat).where(seat.c.row == "a", seat.c.number == 1).values(number=9, taken=True)
    ).rowcount


@case_("article.update", "article.update")
def update_of_columns_with_other_names(s: Any) -> Any:
    return s.execute(update(Article).values(stock=Article.stock + 1)).rowcount


@case_("account.update")
def update_of_a_secret(s: Any) -> Any:
    return s.execute(update(Account).values(iban="planted-new")).rowcount


@case_()
def update_of_an_ignored_column(s: Any) -> Any:
    return s.execute(update(Account).values(touched_at=5)).rowcount


@case_("dog.update")
def update_of_a_class_in_a_shared_table(s: Any) -> Any:
    return s.execute(update(Dog).values(name="rex")).rowcount


@case_("animal.update", "dog.update", "cat.update")
def update_of_all_classes_in_a_shared_table(s: Any) -> Any:
    return s.execute(update(Animal).values(name="x")).rowcount


@case_("engineer.update", "worker.update")
def update_of_the_base_table(s: Any) -> Any:
    return s.execute(update(Worker).values(name="x")).rowcount


@case_("engineer.update")
def update_of_the_joined_table(s: Any) -> Any:
    return s.execute(update(Engineer).values(field="x")).rowcount


@case_("team.delete", "team.delete")
def delete_with_a_criterion(s: Any) -> Any:
    return s.execute(delete(Team).where(Team.id > 1)).rowcount


@case_("team.delete", "team.delete", "team.delete")
def delete_all(s: Any) -> Any:
    return s.execute(delete(team)).rowcount


@case_("team.delete")
def delete_returning(s: Any) -> Any:
    return [
        tuple(row) for row in s.execute(delete(team).where(team.c.id == 2).returning(team.c.name))
    ]


@case_("team.delete", "team.delete")
def delete_by_a_list_of_parameters(s: Any) -> Any:
    statement = delete(team).where(team.c.id == bindparam("which"))
    return s.connection().execute(statement, [{"which": 1}, {"which": 2}]).rowcount


@case_("team.delete")
def delete_using_another_table(s: Any) -> Any:
    s.execute(insert(Plain).values(id=2, name="p"))
    return s.execute(delete(team).where(team.c.id == select(Plain.id).scalar_subquery())).rowcount


@case_("team.delete")
def query_delete(s: Any) -> Any:
    return s.query(Team).filter_by(name="two").delete()


@case_("team.update")
def query_update(s: Any) -> Any:
    return s.query(Team).filter_by(name="two").update({"name": "zwei"})


@case_("team.create")
def insert_one(s: Any) -> Any:
    return s.execute(insert(team).values(name="new")).rowcount


@case_("team.create")
def insert_one_with_its_key(s: Any) -> Any:
    return tuple(
        s.connection().execute(insert(team).values(id=70, name="new")).inserted_primary_key
    )


@case_("team.create", "team.update", "team.delete")
def statements_that_are_compiled_already(s: Any) -> Any:
    connection = s.connection()
    return [
        connection.execute(as_compiled(statement, connection)).rowcount
        for statement in (
            insert(team).values(id=70, name="new"),
            update(team).where(team.c.id == 70).values(name="newer"),
            delete(team).where(team.c.id == 70),
        )
    ][1:]


@case_("team.create", "team.create")
def insert_by_a_list_of_parameters(s: Any) -> Any:
    return s.execute(insert(team), [{"name": "a"}, {"name": "b"}]).returns_rows


@case_("team.create", "team.create")
def insert_by_a_list_with_keys(s: Any) -> Any:
    return (
        s.connection()
        .execute(insert(team), [{"id": 70, "name": "a"}, {"id": 71, "name": "b"}])
        .rowcount
    )


@case_("team.create", "team.create")
def insert_orm_by_a_list(s: Any) -> Any:
    s.execute(insert(Team), [{"name": "a"}, {"name": "b"}])


@case_("team.create", "team.create")
def insert_many_values(s: Any) -> Any:
    return s.execute(insert(team).values([{"name": "a"}, {"name": "b"}])).returns_rows


@case_("team.create", "team.create")
def insert_orm_many_values(s: Any) -> Any:
    return s.execute(insert(Team).values([{"name": "a"}, {"name": "b"}])).returns_rows


@case_("team.create", "team.create")
def insert_returning_its_key(s: Any) -> Any:
    rows = s.execute(insert(team).returning(team.c.name, team.c.id), [{"name": "a"}, {"name": "b"}])
    return [tuple(row)[:1] for row in rows]


@case_("team.create", "team.create")
def insert_returning_without_its_key(s: Any) -> Any:
    result = s.connection().execute(
        insert(team).returning(team.c.name), [{"name": "a"}, {"name": "b"}]
    )
    return list(result.keys()), [tuple(row) for row in result]


@case_("team.create", "team.create")
def insert_returning_objects(s: Any) -> Any:
    return [t.name for t in s.scalars(insert(Team).returning(Team), [{"name": "a"}, {"name": "b"}])]


@case_("team.create", "team.create", "team.create")
def insert_from_select(s: Any) -> Any:
    source = select(team.c.name + "2")
    result = s.connection().execute(insert(team).from_select(["name"], source))
    return result.rowcount, result.returns_rows


@case_("article.create")
def insert_with_defaults_of_the_database(s: Any) -> Any:
    return s.execute(insert(article).values(articleCode="new")).rowcount


@case_("person.create", "person.create")
def bulk_save_objects(s: Any) -> Any:
    s.bulk_save_objects([Person(name="p", version=1), Person(name="q", version=1)])


@case_("team.create", "team.create")
def bulk_insert_mappings(s: Any) -> Any:
    s.bulk_insert_mappings(Team, [{"name": "a"}, {"name": "b"}])


@case_("team.create", "team.create")
def bulk_insert_mappings_with_defaults(s: Any) -> Any:
    mappings = [{"name": "a"}, {"name": "b"}]
    s.bulk_insert_mappings(Team, mappings, return_defaults=True)
    return ["id" in m for m in mappings]


@case_("engineer.create")
def insert_of_a_joined_class(s: Any) -> Any:
    s.execute(insert(Engineer), [{"name": "e", "field": "f", "kind": "engineer"}])


@case_("cat.create")
def insert_of_a_class_in_a_shared_table(s: Any) -> Any:
    return s.execute(insert(Cat).values(name="tom", lives=7, kind="cat")).rowcount


@case_("rate.create", "rate.update", "rate.delete")
def table_without_a_model(s: Any) -> Any:
    s.execute(insert(rate).values(currency="EUR", day=1, value=5, source_token="planted-token"))
    s.execute(update(rate).where(rate.c.currency == "EUR").values(value=6))
    return s.execute(delete(rate).where(rate.c.currency == "EUR")).rowcount


@case_("article.update")
def upsert_that_meets_a_row(s: Any) -> Any:
    statement = upsert(s, article).values(articleCode="a1", in_stock=50)
    statement = statement.on_conflict_do_update(
        index_elements=["articleCode"], set_={"in_stock": statement.excluded.in_stock}
    )
    return s.execute(statement).rowcount


@case_("article.update", "article.create")
def upsert_that_meets_one_of_two(s: Any) -> Any:
    statement = upsert(s, article).values(
        [{"articleCode": "a1", "in_stock": 50}, {"articleCode": "zz", "in_stock": 1}]
    )
    return s.execute(
        statement.on_conflict_do_update(
            index_elements=[article.c.articleCode], set_={"in_stock": 9}
        )
    ).rowcount


@case_("article.update", "article.create")
def upsert_by_a_list_of_parameters(s: Any) -> Any:
    statement = upsert(s, article)
    statement = statement.on_conflict_do_update(
        index_elements=["articleCode"], set_={"in_stock": statement.excluded.in_stock}
    )
    parameters = [{"articleCode": "a1", "in_stock": 7}, {"articleCode": "zz", "in_stock": 8}]
    s.connection().execute(statement, parameters)


@case_("article.create")
def upsert_that_does_nothing_to_what_is_there(s: Any) -> Any:
    statement = upsert(s, article).values([{"articleCode": "a1"}, {"articleCode": "zz"}])
    return s.execute(statement.on_conflict_do_nothing()).rowcount


@case_("rate.update")
def upsert_from_select(s: Any) -> Any:
    statement = upsert(s, rate).from_select(
        ["currency", "day", "value"],
        select(rate.c.currency, rate.c.day, rate.c.value + 1).where(rate.c.currency == "USD"),
    )
    statement = statement.on_conflict_do_update(
        index_elements=["currency", "day"], set_={"value": statement.excluded.value}
    )
    return s.execute(statement).rowcount


@case_("post.update", "post.update")
def link_rows_inserted(s: Any) -> Any:
    rows = [{"post_id": 1, "tag_id": 3}, {"post_id": 2, "tag_id": 1}, {"post_id": 2, "tag_id": 2}]
    return s.connection().execute(insert(post_tag), rows).rowcount


@case_("post.update")
def link_rows_without_a_key_inserted(s: Any) -> Any:
    s.execute(insert(post_friend).values([{"post_id": 1, "friend_id": 2}]))


@case_("post.update")
def link_rows_deleted(s: Any) -> Any:
    return s.execute(delete(post_tag).where(post_tag.c.post_id == 1)).rowcount


@case_("post.update")
def link_rows_updated(s: Any) -> Any:
    return s.execute(update(post_tag).where(post_tag.c.tag_id == 1).values(tag_id=3)).rowcount


@case_("post.update", "tag.delete")
def link_rows_that_the_database_deletes(s: Any) -> Any:
    return s.execute(delete(Tag).where(Tag.id == 1)).rowcount


def populate(world: World) -> None:
    """The data that the cases begin with."""
    with world.unit_of_work() as s:
        s.add_all([Team(name=name) for name in ("one", "two", "three")])
        s.add_all([Seat(row="a", number=1), Seat(row="a", number=2), Seat(row="b", number=1)])
        s.add_all([Article(code="a1"), Article(code="a2", stock=5, iban="planted-old")])
        s.add(Account(owner="kim", iban="planted-iban", password_hash="planted-hash"))
        s.add_all([Animal(name="a"), Dog(name="d", trick="sit"), Cat(name="c", lives=9)])
        s.add_all([Engineer(name="e", field="f"), Worker(name="w")])
        tags = [Tag(name=str(n)) for n in range(3)]
        s.add_all([Post(title="p1", tags=tags[:2]), Post(title="p2"), tags[2]])
        s.flush()
        s.execute(insert(rate).values(currency="USD", day=1, value=3))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if place % 2 else name
        for place, name in enumerate(CASES)
    ],
)
def test_a_statement_leaves_one_row_for_each_record_that_it_changes(
    world: World, name: str
) -> None:
    """Each with its true old and new values, and the caller gets what it would have got without."""
    work, actions = CASES[name]
    populate(world)
    before = len(world.bodies())
    with world.unit_of_work() as session:
        with world.trail.unaudited(reason="to compare"), session.begin_nested() as savepoint:
            without = work(session)
            savepoint.rollback()
        session.expire_all()
        assert without == work(session)
    assert sorted(actions) == sorted(world.actions()[before:])
    assert not [body for body in world.bodies() if "planted" in body]


def test_the_tables_of_the_cases_are_all_of_the_application(world: World) -> None:
    """No model of these tests is beside the oracle."""
    told = {kind.table.name for kind in world.kinds.values() if hasattr(kind.table, "name")}
    audit = {STAGING, *(table.name for table in vars(world.trail.tables).values())}
    linked = {links.table.name for kind in world.kinds.values() for links in kind.links.values()}
    silent = {"plain", "folder", "shelf", "worker", "engineer", "animal"}
    assert set(Base.metadata.tables) - audit == (told & set(Base.metadata.tables)) | linked | silent
