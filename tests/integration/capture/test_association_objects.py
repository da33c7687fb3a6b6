"""Association objects: classes on the table of a many-to-many relationship, as Flask-Security has.

Their rows are objects, also where the relationship writes them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from sqlalchemy import Engine, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from auditspan import audit_context
from integration.capture.application import KIM, Application, make_application


def make_models(*, has_own_key: bool) -> tuple[Any, Any]:
    """Users and roles, and a class on the table between them.

    Args:
        has_own_key: its key is a column of its own, and not the two foreign keys.
    """

    class Base(DeclarativeBase):
        pass

    class Membership(Base):
        __tablename__ = "membership"
        __audit__ = True
        user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=not has_own_key)
        role_id: Mapped[int] = mapped_column(ForeignKey("role.id"), primary_key=not has_own_key)
        if has_own_key:
            id: Mapped[int] = mapped_column(primary_key=True)

    class Role(Base):
        __tablename__ = "role"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    class User(Base):
        __tablename__ = "user"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        roles: Mapped[list[Role]] = relationship(secondary="membership", backref="users")
        keeps: ClassVar[Any] = Membership  # else it is garbage: nothing refers to it

    return User, Role


@pytest.fixture(params=[True, False], ids=["own key", "foreign keys"])
def models(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The association object has a key of its own, or the two foreign keys."""
    return make_models(has_own_key=request.param)


def write(application: Application, user: Any, role: Any) -> None:
    """Give a user two roles by the relationship, and take one away."""
    with application.unit_of_work() as session:
        session.add(user(id=1, roles=[role(id=5), role(id=6)]))
    with application.unit_of_work() as session:
        found = session.get_one(user, 1)
        found.roles.pop()


def test_rows_written_by_a_relationship_are_recorded_as_association_objects(
    engine: Engine, models: tuple[Any, Any]
) -> None:
    """The user itself is not changed, and replaying the trail gives the tables."""
    application = make_application(engine, models[0].metadata)
    write(application, *models)
    actions = [action for action, _, _ in application.told()]
    assert ["membership.create"] * 2 + ["membership.delete"] == actions[3:]
    application.check()


def test_state_of_a_user_has_no_links_that_are_objects(
    engine: Engine, models: tuple[Any, Any]
) -> None:
    """The association objects have states of their own."""
    application = make_application(engine, models[0].metadata)
    write(application, *models)
    with application.unit_of_work() as session:
        found = application.trail.as_of(session, models[0], 1, datetime.now(UTC))
    assert found is not None
    assert {} == dict(found.links)


def test_baseline_records_association_objects_once(engine: Engine, models: tuple[Any, Any]) -> None:
    """They are not recorded a second time as links of the user."""
    user, role = models
    application = make_application(engine, user.metadata)
    write(application, user, role)
    before = len(application.events())
    with audit_context(actor=KIM), application.sessions() as session:
        assert 0 == application.trail.baseline(session)
    assert before == len(application.events())
