"""Service and workers behind PgBouncer in transaction mode."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text

from auditspan.delivery.sinks import FileSink
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import inspect_schema, upgrade
from faults.load import Load
from faults.oracle import require_whole
from faults.place import Place, placed, wait_for
from faults.test_locks import another, sent
from integration.trust.world import Trail, opened
from support.cluster import Cluster
from support.patience import PATIENCE
from support.pooler import pooled
from support.roles import Deployed, deployed_at
from support.running import auditspan

pytestmark = pytest.mark.timeout(900)

SESSION_LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
SESSIONS = 4
PREPARED_AFTER = 5
"""Executions after which the driver would prepare a statement."""

PREPARED = "SELECT count(*) FROM pg_prepared_statements"
SETTINGS = "SELECT current_setting('lock_timeout')"


@contextmanager
def pooler_folder() -> Iterator[Path]:
    """A directory that the server's user may enter."""
    with tempfile.TemporaryDirectory(prefix="auditspan-pool-") as made:
        Path(made).chmod(0o755)
        yield Path(made) / "pgbouncer"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Provide such a directory."""
    with pooler_folder() as made:
        yield made


@dataclass(frozen=True, kw_only=True)
class Pooled(Deployed):
    """A deployment whose roles connect through a pooler.

    Attributes:
        pooler: its URL.
    """

    pooler: URL

    def url(self, name: str) -> str:
        """The URL with which this role connects."""
        url = self.pooler.set(username=self.role(name), password=self.password)
        return url.render_as_string(hide_password=False)


@contextmanager
def placed_behind_pooler(cluster: Cluster, folder: Path, collector_bin: Path) -> Iterator[Place]:
    """A deployment behind a pooler, in which nothing runs yet but the collector."""
    with cluster.database() as url, deployed_at(url) as direct, pooler_folder() as pooler_files:
        roles = ("migrator", "app", "worker", "auditor")
        users = {direct.role(name): direct.password for name in roles}
        with pooled(url, pooler_files, users) as pooler:
            database = Pooled(superuser=direct.superuser, password=direct.password, pooler=pooler)
            with placed(database, folder, collector_bin) as place:
                yield place


@pytest.fixture
def pooled_place(cluster: Cluster, tmp_path: Path, collector_bin: Path) -> Iterator[Place]:
    """Provide such a deployment to a test that changes it."""
    with placed_behind_pooler(cluster, tmp_path, collector_bin) as place:
        yield place


@pytest.fixture(scope="module")
def unchanged_place(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, collector_bin: Path
) -> Iterator[Place]:
    """Provide one such deployment to all tests that only read it."""
    with placed_behind_pooler(cluster, tmp_path_factory.mktemp("pooled"), collector_bin) as place:
        yield place


@pytest.fixture
def pooled_trail(cluster: Cluster, tmp_path: Path, folder: Path) -> Iterator[tuple[str, Trail]]:
    """The URL of a trail through a pooler, and the trail."""
    with (
        cluster.database() as url,
        pooled(url, folder, size=SESSIONS) as pooler,
        opened(url, tmp_path / "collector") as trail,
    ):
        yield pooler.render_as_string(hide_password=False), trail


@contextmanager
def occupied(url: str, count: int) -> Iterator[None]:
    """Transactions of other clients on so many of the pooler's server sessions."""
    engine = make_engine(url)
    with ExitStack() as opened_ones:
        for _ in range(count):
            connection = opened_ones.enter_context(engine.connect())
            connection.execute(text("SELECT 1"))
        yield
    engine.dispose()


def test_next_relay_delivers_after_the_first_has_stopped(
    pooled_trail: tuple[str, Trail], tmp_path: Path
) -> None:
    """The second relay delivers although other transactions occupy most server sessions."""
    url, trail = pooled_trail
    trail.write(10)
    trail.seal()
    with another(url, trail, FileSink(tmp_path / "first")):
        wait_for(lambda: sent(trail) == 10, PATIENCE, "the first relay delivers nothing")
    trail.write(10)
    trail.seal()
    with occupied(url, 2), another(url, trail, FileSink(tmp_path / "second")):
        wait_for(lambda: sent(trail) == 20, PATIENCE, "the second relay delivers nothing")
    assert 20 == sent(trail)


def test_one_of_two_relays_delivers(pooled_trail: tuple[str, Trail], tmp_path: Path) -> None:
    """Of two relays that start together, exactly one writes to its sink."""
    url, trail = pooled_trail
    folders = [tmp_path / "one", tmp_path / "other"]
    with another(url, trail, FileSink(folders[0])), another(url, trail, FileSink(folders[1])):
        for rows in range(10, 60, 10):
            trail.write(10)
            trail.seal()
            wait_for(lambda rows=rows: sent(trail) == rows, PATIENCE, "no relay delivers")  # type: ignore[misc]
        # Here: when the first one stops, the other may take over and repeat unconfirmed rows.
        written = [(folder / "audit" / "audit.jsonl").exists() for folder in folders]
    assert [False, True] == sorted(written)


@pytest.mark.parametrize(
    ("query", "expected"), [(SESSION_LOCKS, 0), (PREPARED, 0), (SETTINGS, "0")]
)
def test_nothing_stays_on_the_server_sessions(
    pooled_trail: tuple[str, Trail], tmp_path: Path, query: str, expected: object
) -> None:
    """A client that shares the sessions finds no lock, no prepared statement and no setting."""
    url, trail = pooled_trail
    with another(url, trail, FileSink(tmp_path / "sink")):
        for rows in range(1, 1 + 2 * PREPARED_AFTER):
            trail.write(1)
            trail.seal()
            wait_for(lambda rows=rows: sent(trail) == rows, PATIENCE, "no relay delivers")  # type: ignore[misc]
    assert [expected] * SESSIONS == seen_by_a_stranger(url, query)


def seen_by_a_stranger(url: str, query: str) -> list[object]:
    """The answers of all server sessions to a client that sets nothing."""
    engine = create_engine(url, connect_args={"prepare_threshold": None})
    with ExitStack() as connections:
        found = [
            connections.enter_context(engine.connect()).execute(text(query)).scalar_one()
            for _ in range(SESSIONS)
        ]
    engine.dispose()
    return found


def test_changes_are_delivered_through_a_pooler(pooled_place: Place) -> None:
    """Every change arrives once sealed, although a worker is killed meanwhile."""
    pooled_place.service()
    workers = [pooled_place.worker("one"), pooled_place.worker("other")]
    with Load(pooled_place) as load:
        load.await_made(20)
        workers[0].kill()
        load.await_made(20)
    assert require_whole(pooled_place, load) >= 0


def test_database_is_migrated_through_a_pooler(cluster: Cluster, folder: Path) -> None:
    """The schema is current after an upgrade through a pooler."""
    with cluster.database() as url, pooled(url, folder) as pooler:
        engine = make_engine(pooler.render_as_string(hide_password=False))
        upgrade(engine)
        with engine.connect() as connection:
            assert inspect_schema(connection).is_current
        engine.dispose()


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor", "--json", "--collector-config", "otel-collector.yaml"),
        ("db", "check"),
        ("events", "--json"),
        ("verify", "--state", "--json"),
        ("export",),
    ],
    ids=" ".join,
)
def test_commands_answer_alike_through_a_pooler(
    unchanged_place: Place, arguments: tuple[str, ...]
) -> None:
    """A command prints the same and ends with the same code as without the pooler."""
    direct = {"AUDITSPAN_DATABASE_URL": direct_url(unchanged_place, "worker")}
    environ = unchanged_place.environ("worker")
    expected = auditspan(*arguments, **{**environ, **direct})
    found = auditspan(*arguments, **environ)
    assert (expected.returncode, expected.stdout) == (found.returncode, found.stdout)


def direct_url(place: Place, role: str) -> str:
    """The URL of a role that connects to the server itself."""
    database = place.database
    plain = Deployed(superuser=database.superuser, password=database.password)
    return plain.url(role)
