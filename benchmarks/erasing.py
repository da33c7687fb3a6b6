"""Cost of erasable values for a commit: none, two columns, and two with those of the actor.

    python benchmarks/erasing.py [--rounds 9] [--commits 300]

Each variant has a database of its own, and the variants take turns in every round. See
docs/explanation/performance.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from auditspan import (
    Actor,
    AuditTrail,
    ErasureKey,
    MacKey,
    Policy,
    Privacy,
    Request,
    audit_context,
)
from support.postgres import empty_database

ACTOR = Actor.user(7, label="kim")
REQUEST = Request(id="1", client_address="198.51.100.7", user_agent="bench/1", method="POST")
OF_ACTOR = Privacy(erasable={"label", "client_address", "user_agent"})
VARIANTS: dict[str, tuple[set[str], Privacy | None]] = {
    "no erasable value": (set(), None),
    "two erasable columns": ({"email", "full_name"}, None),
    "and label, address, agent": ({"email", "full_name"}, OF_ACTOR),
}
Work = Callable[[int], None]


def main() -> None:
    """Measure, and print medians and ratios."""
    parser = argparse.ArgumentParser(description="What erasable values cost a commit.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--commits", type=int, default=300)
    options = parser.parse_args()
    for kind in ("SQLite", "PostgreSQL"):
        print(f"\n**{kind}: {options.commits} commits of one insert**\n")  # noqa: T201
        print("|  | ms | times no erasable value |\n| --- | --: | --: |")  # noqa: T201
        times = measure(kind, options.rounds, options.commits)
        first = median(next(iter(times.values())))
        for name, found in times.items():
            ratio = median(found) / first
            print(f"| {name} | {1000 * median(found):.0f} | {ratio:.2f} |")  # noqa: T201


def measure(kind: str, rounds: int, commits: int) -> dict[str, list[float]]:
    """Return the seconds of every round, by variant."""
    names = [*VARIANTS]
    times: dict[str, list[float]] = {name: [] for name in names}
    with opened(kind) as works:
        for name in names:
            works[name](commits // 10)
        for number in range(rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                began = time.perf_counter()
                works[name](commits)
                times[name].append(time.perf_counter() - began)
    return times


@contextmanager
def opened(kind: str, rest: tuple[str, ...] = tuple(VARIANTS)) -> Iterator[dict[str, Work]]:
    """Open a database for each variant."""
    if not rest:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder, empty_database() as server:
        url = f"sqlite:///{folder}/shop.db" if kind == "SQLite" else server
        with opened(kind, rest[1:]) as others:
            yield {rest[0]: application(url, *VARIANTS[rest[0]]), **others}


def application(url: str, columns: set[str], privacy: Privacy | None) -> Work:
    """Make an application, and return the function that makes its commits."""

    class Base(DeclarativeBase): ...

    class Customer(Base):
        __tablename__ = "customer"
        __audit__ = Policy(erasable=columns)

        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str]
        full_name: Mapped[str]
        plan: Mapped[str]

    engine = create_engine(url)
    sessions = sessionmaker(engine)
    options: dict[str, Any] = {"mac_key": MacKey.from_secret(bytes(32)), "privacy": privacy}
    erasure_key = ErasureKey.from_secret(bytes(32))
    AuditTrail(sessions, metadata=Base.metadata, erasure_key=erasure_key, **options)
    Base.metadata.create_all(engine)

    def add(session: Session) -> None:
        session.add(Customer(email="kim@example.org", full_name="Kim Park", plan="basic"))

    def work(commits: int) -> None:
        for _ in range(commits):
            with audit_context(actor=ACTOR, request=REQUEST), sessions.begin() as session:
                add(session)

    return work


if __name__ == "__main__":
    main()
