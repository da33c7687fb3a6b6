"""A purge that is killed at any step leaves a trail that verifies, and is resumed."""

from __future__ import annotations

import random
from typing import Any

import pytest

from auditspan import RetentionError
from auditspan.trail.retention import authorise, purging
from integration.retention.shop import Shop


class Killed(BaseException):
    """What a process does not survive."""


@pytest.mark.parametrize("step", range(4))
def test_killed_between_the_steps(shop: Shop, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the baseline, before the event, and between two batches."""
    shop.add(*range(1, 8))
    shop.settle()
    cut = shop.now()
    places: list[tuple[Any, str]] = [
        (authorise, "record_baseline"),
        (type(shop.trail.retention), "_state"),
        (purging, "_drop_partitions"),
        (purging, "_remove"),
    ]
    place, name = places[step]
    real, calls = getattr(place, name), []

    def killed(*args: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == (3 if name == "_remove" else 1):
            raise Killed
        return real(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(place, name, killed)
        with pytest.raises(Killed):
            shop.purge(cut, batch=2)
    shop.settle()
    shop.require_clean()
    removed = shop.verify().purged
    assert (removed > 0) == (name == "_remove")
    if step < 2:
        shop.authorise(cut)
    shop.trail.retention.purge(batch=2)
    assert 7 == shop.verify().purged
    shop.require_clean()


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def test_random_histories_holds_and_cuts(shop: Shop, seed: int) -> None:
    """Whatever happened before: verify, state and reconcile are clean after each purge."""
    dice = random.Random(seed)  # noqa: S311 (no secret)
    shop.add(1, 2)
    alive = {1, 2}
    cuts = [shop.now()]
    for step in range(30):
        match dice.choice(["add", "price", "price", "remove", "link", "seal", "cut"]):
            case "add":
                shop.add(step + 100)
                alive.add(step + 100)
            case "price" if alive:
                shop.price(dice.choice(sorted(alive)), step)
            case "remove" if alive:
                shop.remove(one := dice.choice(sorted(alive)))
                alive.discard(one)
            case "link" if alive:
                link(shop, dice.choice(sorted(alive)), dice.randrange(3))
            case "seal":
                shop.settle()
            case "cut":
                cuts.append(shop.now())
        if step % 10 == 9:
            shop.settle()
            shop.purge(dice.choice(cuts))
            shop.require_clean()
    shop.settle()
    shop.purge()
    shop.require_clean()


def link(shop: Shop, item: int, tag: int) -> None:
    """Link an item to a tag, which is made if it is missing, or unlink it."""
    with shop.writing() as session:
        found = session.get(shop.Tag, tag) or shop.Tag(id=tag)
        parent = session.get_one(shop.Item, item)
        if found in parent.tags:
            parent.tags.remove(found)
        else:
            parent.tags.append(found)


def test_late_change_does_not_outlive_a_later_one(shop: Shop) -> None:
    """What another program wrote, and the worker recorded after the next change of the object."""
    shop.add(1, 2)
    shop.settle()
    shop.behind("UPDATE item SET price = 50 WHERE id = 1")
    shop.price(1, 60)
    shop.price(2, 61)
    shop.settle()
    cut = shop.now()
    with pytest.raises(RetentionError, match="not recorded yet"):
        shop.authorise(cut)
    assert 1 == shop.record_late()
    shop.settle()
    assert 2 == shop.trail.retention.plan(cut).size
    shop.purge()
    shop.require_clean()
