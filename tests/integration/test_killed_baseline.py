"""A baseline that is killed, by SIGKILL in the middle, and resumed by the same command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import run

import pytest
from sqlalchemy import Connection, create_engine, text

from support.program import Program
from support.relaying import wait_for
from support.running import AUDITSPAN, clean_environment

ROWS = 3000
BATCH = 20
SHOP = """
import os
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from auditspan import AuditTrail


class Base(DeclarativeBase): ...


class Item(Base):
    __tablename__ = "item"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


engine = create_engine(os.environ["DATABASE_URL"])
trail = AuditTrail(sessionmaker(engine), metadata=Base.metadata)
"""


class Shop:
    """An application with rows, in a directory, whose trail has just been created."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.environ = {**clean_environment(), "DATABASE_URL": url, "AUDITSPAN_APP": "shop:trail"}
        self.environ["AUDITSPAN_ENV"] = "development"
        (directory / "shop.py").write_text(SHOP)
        self.engine = create_engine(url)
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE item (id integer PRIMARY KEY, name text)"))
            insert = text("INSERT INTO item (id, name) VALUES (:id, :name)")
            rows = [{"id": n, "name": f"item {n}"} for n in range(1, ROWS + 1)]
            connection.execute(insert, rows)
        self.command("init")

    def command(self, *arguments: str) -> dict[str, object]:
        """Return the JSON object of a command that finds nothing."""
        command = [str(AUDITSPAN), *arguments, "--json"]
        done = run(command, cwd=self.directory, env=self.environ, capture_output=True, check=False)
        assert 0 == done.returncode, done.stderr.decode()
        found: dict[str, object] = json.loads(done.stdout)
        return found

    def count(self, counted: str = "*") -> int:
        """Count events."""
        with self.engine.connect() as connection:
            return _count(connection, counted)


def _count(connection: Connection, counted: str) -> int:
    query = text(f"SELECT count({counted}) FROM audit_event")  # noqa: S608 (the test's own)
    return int(connection.execute(query).scalar_one())


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    made = Shop(tmp_path, url)
    yield made
    made.engine.dispose()


def test_killed_baseline_resumes_without_gap_or_duplicate(shop: Shop) -> None:
    """The batches that were committed are kept, and the others are recorded by the next run."""
    killed = Program(
        [AUDITSPAN, "baseline", "--batch", str(BATCH)],
        environ=shop.environ,
        log=shop.directory / "baseline.log",
        directory=shop.directory,
    )
    killed.start()
    wait_for(lambda: shop.count() >= ROWS // 10)
    killed.kill()
    before = shop.count()
    assert (True, 0) == (ROWS // 10 <= before < ROWS, before % BATCH)
    assert {"recorded": ROWS - before} == shop.command("baseline")
    assert (ROWS, ROWS) == (shop.count(), shop.count("DISTINCT target_id"))
