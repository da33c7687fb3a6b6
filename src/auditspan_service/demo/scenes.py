"""Scenes in the company: each is one unit of work, by one actor, at one time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from auditspan import Actor, AuditTrail, ForeignEvent, Target, audit_context
from auditspan_service.accounts.api_keys import get_key, issue
from auditspan_service.accounts.roles import assign_role
from auditspan_service.demo.clock import Clock
from auditspan_service.demo.people import Person, request
from auditspan_service.models import ApiKey, User

_REASONS = ("new surname", "typing error", "ticket 4711", "ticket 5120", "asked by phone")
_SCOPES = (("users:read",), ("users:read", "users:write"), ("audit:read",))


@dataclass(kw_only=True)
class Company:
    """The company while its week is written.

    Attributes:
        trail: the trail, whose clock is `clock`.
        writing: opens a unit of work.
        random: the source of all choices.
        newcomers: those who have no account yet.
        clock: the clock of the trail: the time of the current scene.
        staff: ids and names of those who may change users.
        ids: the ids of all users.
    """

    trail: AuditTrail
    writing: Callable[[], AbstractContextManager[Session]]
    random: Random
    newcomers: list[Person]
    clock: Clock
    staff: list[Actor] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The time of the scene."""
        return self.clock.now

    def by_staff(self, method: str, route: str) -> AbstractContextManager[object]:
        """Return the context of a request by one of the staff."""
        return audit_context(
            actor=self.random.choice(self.staff), request=request(self.random, method, route)
        )

    def anyone(self, session: Session) -> User:
        """Return one of the users."""
        return session.get_one(User, self.random.choice(self.ids))


Scene = Callable[[Company], None]


def hire(company: Company) -> None:
    """A newcomer gets an account."""
    if company.newcomers:
        with company.by_staff("POST", "/v1/users"), company.writing() as session:
            add_user(company, session, company.newcomers.pop(0))


def add_user(company: Company, session: Session, person: Person) -> User:
    """Add a user at the time of the scene."""
    user = User(**person._asdict(), created_at=company.now)
    session.add(user)
    session.flush()
    company.ids.append(user.id)
    return user


def rename(company: Company) -> None:
    """A name or an address is corrected."""
    reason = company.random.choice(_REASONS)
    with (
        company.by_staff("PATCH", "/v1/users/<id>"),
        audit_context(reason=reason),
        company.writing() as session,
    ):
        user = company.anyone(session)
        if company.random.random() < 0.5:  # noqa: PLR2004 (as often as not)
            user.full_name = f"{user.full_name} {company.random.choice('ABCDEFG')}."
        else:
            user.email = f"{user.username}@mail{company.random.randrange(9)}.example.com"


def switch(company: Company) -> None:
    """An account is closed, or opened again."""
    with company.by_staff("PATCH", "/v1/users/<id>"), company.writing() as session:
        user = company.anyone(session)
        user.active = not user.active


def promote(company: Company) -> None:
    """A user gets a role."""
    with company.by_staff("PUT", "/v1/users/<id>/roles/<role>"), company.writing() as session:
        assign_role(session, company.anyone(session).id, "support")


def issue_key(company: Company) -> None:
    """A user gets an API key."""
    with company.by_staff("POST", "/v1/users/<id>/keys"), company.writing() as session:
        user = company.anyone(session)
        key = ApiKey(user=user, name="script", scopes=list(company.random.choice(_SCOPES)))
        key.created_at, key.expires_at = company.now, company.now + timedelta(days=90)
        issue(session, key)


def revoke(company: Company) -> None:
    """The oldest key that is valid is revoked."""
    oldest = select(ApiKey.id).where(ApiKey.revoked_at.is_(None)).order_by(ApiKey.id).limit(1)
    with company.by_staff("DELETE", "/v1/keys/<id>"), company.writing() as session:
        if key_id := session.scalar(oldest):
            get_key(session, key_id).revoked_at = company.now


def sign_in(company: Company) -> None:
    """One of the staff opens the pages."""
    with company.by_staff("POST", "/sign-in"), company.writing() as session:
        company.trail.record(session, "session.create")


def mistype(company: Company) -> None:
    """A stranger fails to sign in, a few times in a row."""
    who = request(company.random, "POST", "/sign-in")
    for _ in range(company.random.randint(1, 4)):
        with audit_context(actor=Actor.anonymous(), request=who), company.writing() as session:
            company.trail.record(
                session, "authentication.failure", outcome="failure", reason="invalid API key"
            )
        company.clock.now += timedelta(seconds=company.random.uniform(2, 9))


def be_denied(company: Company) -> None:
    """A user asks for something that its key does not permit."""
    with company.writing() as session:
        user = company.anyone(session)
        actor = Actor.user(user.id, label=user.username)
        who = request(company.random, "DELETE", "/v1/users/<id>")
        with audit_context(actor=actor, request=who):
            company.trail.record(
                session,
                "authorization.failure",
                target=company.anyone(session),
                outcome="failure",
                reason="the key lacks the scope users:write",
            )


def bill(company: Company) -> None:
    """Another service sends an event of its own, which sometimes failed."""
    fails = company.random.random() < 0.15  # noqa: PLR2004 (one in seven)
    company.trail.ingest(
        [
            ForeignEvent(
                action="payment.failed" if fails else "invoice.sent",
                occurred_at=company.now,
                target=Target(type="invoice", id=str(company.random.randrange(1000, 9999))),
                outcome="failure" if fails else "success",
                reason="card declined" if fails else None,
            )
        ],
        producer=Actor.service("billing"),
    )


def synchronize(company: Company) -> None:
    """The nightly job moves some addresses to another domain, by one statement."""
    some = company.random.sample(company.ids, min(len(company.ids), company.random.randint(3, 12)))
    moved = User.username + f"@corp{company.now.day}.example.com"
    actor = Actor.system("nightly-directory-sync")
    with (
        audit_context(actor=actor, reason="directory synchronization"),
        company.writing() as session,
    ):
        session.execute(
            update(User).where(User.id.in_(some)).values(email=moved),
            execution_options={"synchronize_session": False},
        )


SCENES: dict[Scene, int] = {
    sign_in: 26,
    bill: 24,
    rename: 20,
    hire: 5,
    mistype: 6,
    be_denied: 6,
    issue_key: 5,
    revoke: 3,
    promote: 3,
    switch: 2,
}
"""How often each scene happens, relative to the others."""
