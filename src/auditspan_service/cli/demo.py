"""`auditspan demo`: a believable week, for pictures and for load."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime

import click
from sqlalchemy import select

from auditspan.cli import data_option
from auditspan.cli.commands import Failure, as_time, json_option, print_result
from auditspan.format import counted
from auditspan_service.cli.database import opened_services
from auditspan_service.demo import Clock, Demo, Week
from auditspan_service.models import User
from auditspan_service.services import Services


@click.command()
@click.option(
    "--rate",
    default=20,
    show_default=True,
    type=click.IntRange(1),
    help="Scenes in the busiest hour; a scene is one unit of work.",
)
@click.option(
    "--days", default=7, show_default=True, type=click.IntRange(1), help="Days until the end."
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="The same seed, rate, days and end write the same events, but for ids and secrets.",
)
@click.option(
    "--until",
    callback=as_time,
    metavar="TIME",
    help="The end, in ISO 8601, in UTC unless it has an offset.  [default: the last full hour]",
)
@click.option("--add", is_flag=True, help="Write even if the database has users.")
@json_option
@data_option
def demo(*, rate: int, days: int, seed: int, until: datetime | None, add: bool) -> None:
    """Fill an empty trail with a believable week.

    Run `auditspan db upgrade` before, and give the same --data.

    Writes users, roles, keys, failures, denials and bulk changes of an imaginary company, as its
    programs would have. The times of the events are in the past; the database's own are not. For
    screenshots and load tests, not for a trail that matters: every event is an invention.
    """
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    week = Week(until=until or now, days=days, rate=rate)
    clock = Clock(week.since)
    with opened_services(clock) as services:
        if not add:
            _require_no_users(services)
        played = Demo(services, week, clock, seed)
        _play(played)
        with services.database.reading() as session:
            summary = asdict(played.summary(session))
    summary |= {name: summary[name].isoformat() for name in ("since", "until")}
    users, keys = counted(summary["users"], "user"), counted(summary["keys"], "key")
    scenes = counted(summary["scenes"], "scene")
    print_result(
        summary,
        [
            f"{scenes} from {summary['since']} to {summary['until']}: {users}, {keys}",
            "To look at it: `auditspan keys create --username auditor --scope audit:read`, then",
            "`auditspan up`, and sign in with that key.",
        ],
    )


def _require_no_users(services: Services) -> None:
    with services.database.reading() as session:
        if session.scalar(select(User.id).limit(1)) is not None:
            raise Failure(
                "The database has users already, and the demo would mix inventions with them: name "
                "another --data, or give --add."
            )


def _play(played: Demo) -> None:
    """Write the week, with its progress on standard error."""
    with click.progressbar(
        played.scenes(), length=len(played), label="writing", file=sys.stderr
    ) as scenes:
        for _ in scenes:
            pass
