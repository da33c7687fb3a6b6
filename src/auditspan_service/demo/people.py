"""The people of the imaginary company, their roles, and the requests that they send."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from auditspan import Request

FIRST = ("Ada", "Alan", "Amina", "Barbara", "Chen", "Dana", "Edsger", "Elif", "Grace", "Hedy")
MORE = ("Ines", "Jonas", "Katherine", "Kim", "Lee", "Marie", "Noor", "Omar", "Priya", "Radia")
LAST = ("Berg", "Costa", "Duarte", "Fischer", "Haddad", "Ito", "Jensen", "Kaya", "Lindqvist")
OTHERS = ("Moreau", "Nakamura", "Okafor", "Park", "Rossi", "Silva", "Tanaka", "Weber", "Yilmaz")
ROLES = {
    "support": ("users:read", "users:write"),
    "security": ("audit:read", "keys:read", "keys:write", "users:read"),
}
"""The roles of the company, with their scopes."""

_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) AppleWebKit/605.1.15 Safari/605.1.15",
    "python-httpx/0.28.1",
)


class Person(NamedTuple):
    """One person, as the form for new users has it."""

    username: str
    full_name: str
    email: str


def people(random: Random, count: int) -> list[Person]:
    """Return different people."""
    names = [f"{first} {last}" for first in FIRST + MORE for last in LAST + OTHERS]
    chosen = (random.choice(names) for _ in range(count))
    return [_person(name, number) for number, name in enumerate(chosen, start=1)]


def request(random: Random, method: str, route: str) -> Request:
    """Return a request from the office."""
    return Request(
        id=f"{random.getrandbits(64):016x}",
        client_address=f"198.51.100.{random.randrange(10, 60)}",
        user_agent=random.choice(_AGENTS),
        method=method,
        route=route,
    )


def _person(name: str, number: int) -> Person:
    username = f"{name.lower().replace(' ', '.')}.{number}"
    return Person(username, name, f"{username}@example.com")
