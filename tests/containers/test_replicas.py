"""Three replicas of the service and two workers, cut off from the collector for a minute."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from containers.load import Load
from containers.proof import require_nothing_lost, require_sealed
from containers.stack import DOCKER, Stack, docker

pytestmark = pytest.mark.timeout(1800)

CUT_SECONDS = 60
LOAD_SECONDS = 5
TRIES = "records wait in the table"
"""What the relay says that delivers, when it cannot."""

OVERLAY = """
services:
  service:
    ports: !override []
    deploy: {replicas: 3}
    environment: {WEB_CONCURRENCY: "1"}
  worker:
    deploy: {replicas: 2}
"""


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """compose.yaml with more of what may be more, as a project of its own."""
    directory = tmp_path_factory.mktemp("replicas")
    overlay = directory / "replicas.yaml"
    overlay.write_text(OVERLAY, encoding="utf-8")
    stack = Stack(directory, overlay, name="auditspan-replicas")
    try:
        stack.up()
        yield stack
    finally:
        stack.down("--volumes")


def test_of_two_workers_one_is_active(replicas: Stack) -> None:
    """While nothing fails, nothing arrives twice: two that are active would send it all twice."""
    key = replicas.new_key("admin")
    with ExitStack() as running:
        loads = [
            running.enter_context(Load(url, key, f"calm{number}"))
            for number, url in enumerate(services(replicas))
        ]
        time.sleep(LOAD_SECONDS)
    assert [0, 0, 0] == [load.refused for load in loads]
    for number, load in enumerate(loads):
        require_nothing_lost(replicas, load, f"calm{number}")
    assert replicas.settled()["duplicates"] == 0


def test_nothing_is_lost_while_the_collector_cannot_be_reached(replicas: Stack) -> None:
    """Requests are served meanwhile, one of two workers tries, and then everything arrives."""
    key = replicas.new_key("admin")
    with ExitStack() as running:
        loads = [
            running.enter_context(Load(url, key, f"cut{number}"))
            for number, url in enumerate(services(replicas))
        ]
        time.sleep(LOAD_SECONDS)
        cut_off(replicas)
        time.sleep(LOAD_SECONDS)
    assert [0, 0, 0] == [load.refused for load in loads]
    for number, load in enumerate(loads):
        require_nothing_lost(replicas, load, f"cut{number}")


def test_another_worker_takes_over_when_one_is_killed(replicas: Stack) -> None:
    """Whichever is active: each is killed in turn, and everything still arrives."""
    key = replicas.new_key("admin")
    url = services(replicas)[0]
    for number, worker in enumerate(replicas.containers("worker")):
        with Load(url, key, f"failover{number}") as load:
            time.sleep(LOAD_SECONDS)
            docker("kill", "--signal", "KILL", worker)
            time.sleep(LOAD_SECONDS)
        assert load.refused == 0
        require_nothing_lost(replicas, load, f"failover{number}", verify=False)
        docker("start", worker)
    replicas.up()
    require_sealed(replicas)


def cut_off(stack: Stack) -> None:
    """No worker reaches the collector for a minute."""
    network, workers = f"{stack.name}_default", stack.containers("worker")
    began = time.monotonic()
    for worker in workers:
        docker("network", "disconnect", network, worker)
    time.sleep(CUT_SECONDS)
    assert stack.report("service", "reconcile")["missing"] != [], "it was not cut off"
    trying = [worker for worker in workers if TRIES in logged(worker, since=began)]
    assert len(trying) == 1
    for worker in workers:
        docker("network", "connect", network, worker)


def logged(container: str, *, since: float) -> str:
    """What a container has said since then."""
    seconds = int(time.monotonic() - since) + 1
    command = [DOCKER, "logs", "--since", f"{seconds}s", container]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return said.stdout + said.stderr


def services(stack: Stack) -> list[str]:
    """Where each replica of the service answers, on the network that leads out."""
    template = f'{{{{(index .NetworkSettings.Networks "{stack.name}_default").IPAddress}}}}'
    addresses = docker("inspect", "--format", template, *stack.containers("service")).split()
    assert len(addresses) == 3
    return [f"http://{address}:8000" for address in addresses]
