"""Writes in common table expressions, which only PostgreSQL has: recorded row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Engine,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    table,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from integration.library.models import Account, Plain, Seat, Team
from integration.library.shapes import Folder, Node, Paper, Post, Shelf, Tag, post_tag
from integration.library.world import World, make_world

Case = Callable[[Session], Any]

team: Any = Team.__table__
seat: Any = Seat.__table__
node: Any = Node.__table__
folder: Any = Folder.__table__
plain: Any = Plain.__table__


def returned(statement: Any, *columns: Any) -> Any:
    """The statement in a common table expression, and what it returns."""
    return statement.returning(*columns).cte("part")


def an_update(s: Session) -> Any:
    part = returned(update(team).where(team.c.id <= 2).values(name="x"), team.c.id)
    return sorted(s.scalars(select(part.c.id)))


def an_update_by_an_expression_of_a_class(s: Session) -> Any:
    part = returned(update(Team).where(Team.id != 2).values(name=Team.name + "!"), Team.name)
    return sorted(s.scalars(select(part.c.name)))


def an_update_from_a_query_beside_it(s: Session) -> Any:
    last = select(func.max(team.c.id).label("id")).cte("last")
    part = returned(update(team).where(team.c.id == last.c.id).values(name="last"), team.c.id)
    return s.scalars(select(part.c.id)).all()


def an_update_that_is_nested(s: Session) -> Any:
    part = update(team).where(team.c.id == 1).values(name="x").returning(team.c.id)
    return s.scalars(select(part.cte("part", nesting=True).c.id)).all()


def an_update_of_what_is_so_already(s: Session) -> Any:
    part = returned(update(team).where(team.c.name == "one").values(name="one"), team.c.id)
    return s.scalars(select(part.c.id)).all()


def an_update_of_a_secret(s: Session) -> Any:
    part = returned(update(Account).values(password_hash="planted-new"), Account.id)
    return s.scalars(select(part.c.id)).all()


def a_deletion(s: Session) -> Any:
    part = returned(delete(Team).where(Team.name.in_(["one", "two"])), Team.name)
    return sorted(s.scalars(select(part.c.name)))


def a_deletion_without_returning(s: Session) -> Any:
    part = delete(team).where(team.c.id == 1).cte("part")
    return s.scalars(select(literal("done")).add_cte(part)).all()


def a_deletion_of_a_tree(s: Session) -> Any:
    part = returned(delete(node).where(node.c.id == 1), node.c.id)
    return s.scalars(select(part.c.id)).all()


def a_deletion_of_what_is_not_audited_above_what_is(s: Session) -> Any:
    part = returned(delete(folder), folder.c.id)
    return s.scalars(select(part.c.id)).all()


def rows_that_move_to_another_table(s: Session) -> Any:
    part = returned(delete(team).where(team.c.id >= 2), team.c.id, team.c.name)
    statement = insert(seat).from_select(
        ["row", "number", "taken"], select(literal("z"), part.c.id, literal(value=True))
    )
    return sorted(tuple(row) for row in s.execute(statement.returning(seat.c.number)))


def a_deletion_of_links(s: Session) -> Any:
    part = returned(delete(post_tag).where(post_tag.c.tag_id == 1), post_tag.c.post_id)
    return s.scalars(select(part.c.post_id)).all()


def an_insert_with_its_key(s: Session) -> Any:
    part = returned(insert(Seat).values(row="x", number=7, taken=True), Seat.number)
    return s.scalars(select(part.c.number)).all()


def inserts_with_their_keys(s: Session) -> Any:
    rows = [{"row": "x", "number": n, "taken": False} for n in (7, 8)]
    part = returned(insert(seat).values(rows), seat.c.number)
    return sorted(s.scalars(select(part.c.number)))


def three_writes_in_one_statement(s: Session) -> Any:
    first = update(team).where(team.c.id == 1).values(name="x").returning(team.c.id).cte("first")
    second = delete(seat).where(seat.c.row == "a").returning(seat.c.number).cte("second")
    statement = update(Account).values(owner="lee").add_cte(first, second)
    return s.connection().execute(statement).rowcount


def the_same_statement_with_other_values(s: Session) -> Any:
    found: list[int] = []
    for which in (1, 2):
        part = returned(update(team).where(team.c.id == which).values(name=f"n{which}"), team.c.id)
        found += s.scalars(select(part.c.id))
    return found


def a_key_that_the_database_makes(s: Session) -> Any:
    part = returned(insert(team).values(name="x"), team.c.name)
    return s.scalars(select(part.c.name)).all()


def a_key_that_changes(s: Session) -> Any:
    part = returned(update(team).values(id=team.c.id + 10), team.c.id)
    return sorted(s.scalars(select(part.c.id)))


def an_insert_from_a_query(s: Session) -> Any:
    rows = select(literal("z"), team.c.id, literal(value=True))
    part = insert(seat).from_select(["row", "number", "taken"], rows)
    return sorted(s.scalars(select(returned(part, seat.c.number))))


def an_upsert(s: Session) -> Any:
    part = postgresql.insert(seat).values(row="a", number=1, taken=True)
    part = part.on_conflict_do_update(index_elements=["row", "number"], set_={"taken": True})
    return s.scalars(select(returned(part, seat.c.number))).all()


def an_update_that_asks_what_a_write_returns(s: Session) -> Any:
    part = returned(delete(seat).where(seat.c.row == "a"), seat.c.number)
    statement = update(team).where(team.c.id.in_(select(part.c.number))).values(name="x")
    return s.connection().execute(statement).rowcount


def an_update_joined_with_what_a_write_returns(s: Session) -> Any:
    part = returned(delete(plain), plain.c.id)
    statement = update(team).where(team.c.id == part.c.id).values(name="x")
    return s.connection().execute(statement).rowcount


def an_upsert_of_what_a_write_returns(s: Session) -> Any:
    part = returned(delete(team), team.c.id)
    rows = select(literal("a"), part.c.id, literal(value=True))
    statement = postgresql.insert(seat).from_select(["row", "number", "taken"], rows)
    statement = statement.on_conflict_do_update(
        index_elements=["row", "number"], set_={"taken": statement.excluded.taken}
    )
    return s.connection().execute(statement).rowcount


def two_writes_to_a_table(s: Session) -> Any:
    part = returned(delete(team).where(team.c.id == 1), team.c.id)
    statement = update(team).where(team.c.id != 1).values(name="x").add_cte(part)
    return s.connection().execute(statement).rowcount


def two_writes_to_a_row(s: Session) -> Any:
    part = returned(delete(team).where(team.c.id == 1), team.c.id)
    return s.connection().execute(update(team).values(name="x").add_cte(part)).rowcount


def two_writes_that_meet_by_a_cascade(s: Session) -> Any:
    part = returned(delete(node).where(node.c.id == 1), node.c.id)
    return s.connection().execute(delete(node).where(node.c.id == 2).add_cte(part)).rowcount


def another_description_of_the_table(s: Session) -> Any:
    other = table("team", column("id"), column("name"))
    part = returned(update(other).values(name="x"), other.c.id)
    return sorted(s.scalars(select(part.c.id)))


def another_description_within_an_insert(s: Session) -> Any:
    other = table("team", column("id"), column("name"))
    part = returned(update(other).values(name="x"), other.c.name)
    statement = insert(plain).from_select(["name"], select(part.c.name))
    return s.connection().execute(statement).rowcount


def a_text_beside_a_write(s: Session) -> Any:
    part = returned(update(team).where(team.c.id == 1).values(name="x"), team.c.id)
    writing = text("UPDATE team SET name = 'y' WHERE id > 1 RETURNING name").columns(column("name"))
    return s.scalars(select(part.c.id).add_cte(writing.cte("writing"))).all()


CASES: dict[Case, list[str]] = {
    an_update: ["team.update"] * 2,
    an_update_by_an_expression_of_a_class: ["team.update"] * 2,
    an_update_from_a_query_beside_it: ["team.update"],
    an_update_that_is_nested: ["team.update"],
    an_update_of_what_is_so_already: [],
    an_update_of_a_secret: ["account.update"],
    a_deletion: ["team.delete"] * 2,
    a_deletion_without_returning: ["team.delete"],
    a_deletion_of_a_tree: ["node.delete"] * 2,
    a_deletion_of_what_is_not_audited_above_what_is: ["paper.delete"],
    rows_that_move_to_another_table: ["seat.create"] * 2 + ["team.delete"] * 2,
    a_deletion_of_links: ["post.update"],
    an_insert_with_its_key: ["seat.create"],
    inserts_with_their_keys: ["seat.create"] * 2,
    three_writes_in_one_statement: ["account.update", "seat.delete", "seat.delete", "team.update"],
    the_same_statement_with_other_values: ["team.update"] * 2,
    a_key_that_the_database_makes: ["team.create"],
    a_key_that_changes: ["team.update"] * 3,
    an_insert_from_a_query: ["seat.create"] * 3,
    an_upsert: ["seat.update"],
    an_update_that_asks_what_a_write_returns: ["seat.delete"] * 2 + ["team.update"] * 2,
    an_update_joined_with_what_a_write_returns: ["team.update"],
    an_upsert_of_what_a_write_returns: ["seat.create"] + ["seat.update"] * 2 + ["team.delete"] * 3,
    two_writes_to_a_table: ["team.delete"] + ["team.update"] * 2,
    two_writes_to_a_row: ["team.update"] * 3,
    two_writes_that_meet_by_a_cascade: ["node.delete"] * 2,
    another_description_of_the_table: ["team.update"] * 3,
    another_description_within_an_insert: ["team.update"] * 3,
    a_text_beside_a_write: ["team.update"] * 3,
}


@pytest.fixture
def world(postgresql_engine: Engine) -> Iterator[World]:
    """The application with some rows; at the end its trail is replayed against its tables."""
    world = make_world(postgresql_engine)
    with world.unit_of_work() as s:
        s.add_all([Team(name=name) for name in ("one", "two", "three")])
        s.add_all([Seat(row="a", number=1), Seat(row="a", number=2), Seat(row="b", number=1)])
        s.add(Account(owner="kim", iban="planted-iban", password_hash="planted-hash"))
        s.add(Post(title="p", tags=[Tag(id=1, name="t")]))
        s.add(Node(id=1))
        s.flush()
        s.add(Node(id=2, parent_id=1))
        s.add(Folder(id=1))
        s.flush()
        s.add(Shelf(id=1, folder_id=1))
        s.flush()
        s.add_all([Paper(id=1, shelf_id=1), Plain(name="plain")])
    yield world
    world.check()
    assert not [body for body in world.bodies() if "planted" in body]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_write_in_a_cte_leaves_one_row_for_each_record_that_it_changes(
    world: World, case: Case
) -> None:
    """Each with its true old and new values, and the caller gets what it would have got without."""
    before = len(world.bodies())
    with world.unit_of_work() as session:
        with world.trail.unaudited(reason="to compare"), session.begin_nested() as savepoint:
            without = case(session)
            savepoint.rollback()
        session.expire_all()
        assert without == case(session)
    assert CASES[case] == sorted(world.actions()[before:])
