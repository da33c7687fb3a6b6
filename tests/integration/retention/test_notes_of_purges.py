"""Every reader of the trail says that earlier events were removed, where that is so."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from auditspan import Actor
from auditspan.cli import COMMANDS, Commands, set_target
from auditspan.cli.commands import ApplicationTarget
from auditspan.flask import AuditExtension
from auditspan.reading import History
from integration.retention.shop import Shop

NOTE = "Earlier events were removed by retention: those before sequence number"


@pytest.fixture
def purged(shop: Shop) -> Shop:
    """Item 1 was created before a purge and changed after it; item 2 was created after it."""
    shop.add(1)
    shop.settle()
    shop.purge()
    shop.price(1, 5)
    shop.add(2)
    shop.settle()
    return shop


def history(shop: Shop, item: int) -> History:
    """The history of an item."""
    with shop.sessions() as session:
        return shop.trail.history(session, shop.Item, item)


def run(shop: Shop, *words: str) -> Result:
    """A command on the trail."""
    group = Commands(lazy=COMMANDS)
    target = ApplicationTarget(shop.trail, command="shop")

    @click.pass_context
    def use(context: click.Context) -> None:
        set_target(context, lambda: target)

    group.callback = use
    return CliRunner().invoke(group, words)


def test_show_says_that_an_event_was_removed(purged: Shop) -> None:
    """By its id and by its sequence number; an event that never was is not found."""
    with purged.engine.connect() as connection:
        leaf = purged.tables.leaf.c
        event_id = connection.scalar(select(leaf.event_id).where(leaf.seq == 0))
    for name in ("0", str(event_id)):
        assert f"Event {name} was removed by retention" in run(purged, "show", name).stderr
    assert "Event 999 was not found" in run(purged, "show", "999").stderr


def client(shop: Shop) -> FlaskClient:
    """An application with the viewer."""
    app = Flask(__name__)
    AuditExtension(
        shop.trail, actor=lambda: Actor.user(1), viewer="/audit", can_view=lambda: True
    ).init_app(app)
    return app.test_client()


def test_a_history_has_the_purge_of_earlier_events(purged: Shop) -> None:
    """With its range, time, event, actor and reason; not if it begins with the creation."""
    found = history(purged, 1).purged
    assert found is not None
    with purged.engine.connect() as connection:
        assert [found] == purged.trail.retention.purges(connection)
    assert ("8", "policy 4.2") == (found.actor, found.reason)
    assert found.event_id in purged.ids()
    assert [None, "item.create"] == [history(purged, 2).purged, history(purged, 2)[0].action]
    assert ([], found) == (history(purged, 9), history(purged, 9).purged)


def test_authorised_purge_is_not_reported_before_it_ran(shop: Shop) -> None:
    """Nothing was removed yet; an earlier purge still counts."""
    shop.add(1)
    shop.settle()
    shop.authorise(shop.now())
    shop.price(1, 5)
    assert history(shop, 1).purged is None
    shop.trail.retention.purge()
    first = history(shop, 1).purged
    shop.settle()
    shop.authorise(shop.now())
    assert first is not None
    assert first == history(shop, 1).purged


def test_commands_tell_it_on_standard_error(purged: Shop) -> None:
    """`history` and `events`, and `events` not where the first ones are not asked for."""
    event_id = str(getattr(history(purged, 1).purged, "event_id", None))
    told = [
        run(purged, "history", "item", "1"),
        run(purged, "events"),
        run(purged, "events", "--json"),
    ]
    assert [(0, True, True)] * 3 == [
        (done.exit_code, NOTE in done.stderr, event_id in done.stderr) for done in told
    ]
    since = ["events", "--since", purged.now().isoformat()]
    for words in (["history", "item", "2"], ["events", "--limit", "1"], since):
        assert NOTE not in run(purged, *words).stderr


def test_pages_tell_it(purged: Shop) -> None:
    """The list on its last page, the history, and the page of an event that is gone."""
    pages = client(purged)
    assert NOTE in pages.get("/audit/").text
    assert NOTE in pages.get("/audit/history/item/1").text
    assert NOTE not in pages.get("/audit/history/item/2").text
    assert NOTE in pages.get("/audit/history/item/9").text
    since = purged.now().replace(tzinfo=None).isoformat()
    assert NOTE not in pages.get(f"/audit/?since={since}").text


def test_page_of_a_purged_event_answers_410(shop: Shop) -> None:
    """It answers 410, with the event that authorised the purge."""
    shop.add(1)
    (created,) = shop.ids()
    shop.settle()
    report = shop.purge()
    gone = client(shop).get(f"/audit/events/{created}")
    assert 410 == gone.status_code
    assert f"as event {report.event_id} of" in gone.text
    assert 404 == client(shop).get(f"/audit/events/{'0' * 8}{created[8:]}").status_code
