"""What says that nothing was lost would say so if something were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from faults.load import Change, Load
from faults.oracle import require_whole
from faults.place import Place, wait_for
from support.patience import PATIENCE

pytestmark = pytest.mark.timeout(300)

_SETTLED = text(
    "SELECT NOT EXISTS (SELECT FROM audit_change)"
    " AND (SELECT count(*) FROM audit_event) = (SELECT count(*) FROM audit_leaf)"
)
_RENAME = text("UPDATE users SET full_name = :name WHERE username = 'admin'")


@contextmanager
def unfulfilled(load: Load) -> Iterator[None]:
    """A change was acknowledged, and is not there."""
    load.made.append(Change("user.create", "nobody"))
    yield
    load.made.pop()


@contextmanager
def belied(load: Load) -> Iterator[None]:
    """Of a change that was made it was said that nothing was changed."""
    load.refused.append(load.made[0])
    yield
    load.refused.pop()


@contextmanager
def unrecorded(place: Place) -> Iterator[None]:
    """A change has no row."""
    with place.superuser.begin() as connection:
        connection.execute(_RENAME, {"name": "somebody else"})
    yield
    with place.superuser.begin() as connection:
        connection.execute(_RENAME, {"name": None})
    wait_for(lambda: is_settled(place), PATIENCE, "the worker does not record both changes")


def is_settled(place: Place) -> bool:
    """Return whether the worker has recorded and sealed every change."""
    with place.superuser.connect() as connection:
        return bool(connection.execute(_SETTLED).scalar_one())


@contextmanager
def broken(load: Load) -> Iterator[None]:
    """An answer was a 500."""
    load.wrong.append("POST /v1/users: 500")
    yield
    load.wrong.pop()


def test_every_broken_promise_is_found(place: Place) -> None:
    """A promise without its change, a refusal with one, a change without a row, a wrong answer."""
    place.service()
    place.worker()
    with Load(place) as load:
        load.await_made(20)
    require_whole(place, load)
    for fault in (unfulfilled(load), belied(load), unrecorded(place), broken(load)):
        with fault, pytest.raises(AssertionError):
            require_whole(place, load)
    require_whole(place, load)
