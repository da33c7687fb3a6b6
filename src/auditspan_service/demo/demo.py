"""A week of the imaginary company, written scene by scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from auditspan import Actor, audit_context
from auditspan_service.accounts.roles import assign_role
from auditspan_service.demo.clock import Clock
from auditspan_service.demo.people import ROLES, people
from auditspan_service.demo.scenes import SCENES, Company, add_user, synchronize
from auditspan_service.demo.week import Week
from auditspan_service.models import ApiKey, Role, User
from auditspan_service.services import Services

_FOUNDERS = 12
_STAFF = 4
_NEWCOMERS = 400


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Totals of the database after the demo, and the span of the week."""

    users: int
    keys: int
    scenes: int
    since: datetime
    until: datetime


class Demo:
    """A demo on a service's database.

    The times of the past are those of the trail's clock: `occurred_at` of the events. The
    database's own times (`recorded_at`, and the seal) are those of the run.

    Args:
        services: the services, opened with `clock`.
        week: the days and the rate.
        seed: the same seed, days, rate and end write the same events, but for ids and secrets.
    """

    def __init__(self, services: Services, week: Week, clock: Clock, seed: int) -> None:
        random = Random(seed)  # noqa: S311 (choices, not secrets)
        self.week = week
        self._moments = list(week.moments(random))
        self._company = Company(
            trail=services.trail,
            writing=services.database.writing,
            random=random,
            newcomers=people(random, _FOUNDERS + _NEWCOMERS),
            clock=clock,
        )

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self._moments)

    def scenes(self) -> Iterator[int]:
        """Write the week, and yield the number of each scene after it is committed."""
        self._found()
        kinds, weights = list(SCENES), list(SCENES.values())
        for number, (moment, is_night) in enumerate(self._moments, start=1):
            self._company.clock.now = moment
            scene = synchronize if is_night else self._company.random.choices(kinds, weights)[0]
            scene(self._company)
            yield number

    def summary(self, session: Session) -> Summary:
        """Return what there is now."""
        counts = [session.scalar(select(func.count()).select_from(one)) for one in (User, ApiKey)]
        users, keys = (count or 0 for count in counts)
        week = self.week
        return Summary(users=users, keys=keys, scenes=len(self), since=week.since, until=week.until)

    def _found(self) -> None:
        """Add the roles and the first users, including the staff, who change the others."""
        company = self._company
        with audit_context(actor=Actor.system("setup"), reason="first start"):
            with company.writing() as session:
                for name, scopes in ROLES.items():
                    session.add(Role(name=name, scopes=sorted(scopes), created_at=company.now))
            for number in range(_FOUNDERS):
                with company.writing() as session:
                    user = add_user(company, session, company.newcomers.pop(0))
                    if number < _STAFF:
                        assign_role(session, user.id, sorted(ROLES)[number % len(ROLES)])
                        company.staff.append(Actor.user(user.id, label=user.username))
