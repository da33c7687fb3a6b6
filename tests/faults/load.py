"""Sixteen clients that change users whatever happens, and remember what was promised to them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Self

import httpx

from faults.place import Place
from support.patience import PATIENCE

CLIENTS = 16
IN_DOUBT = "/problems/outcome-unknown"
_AGAIN_SECONDS = 0.05


@dataclass(frozen=True)
class Change:
    """What was asked for; the token is in the body of its audit row and in no other."""

    action: str
    token: str


@dataclass(frozen=True)
class Answer:
    """When a request was answered, with which status (0 for none), and how long that took."""

    at: float
    status: int
    seconds: float


class Load:
    """Runs for the length of a `with` block.

    Attributes:
        made: changes that were acknowledged.
        refused: changes of which it was said that nothing was changed.
        in_doubt: changes without an answer, or with one that says that nobody knows.
        answers: to all requests.
        wrong: what no answer must be, in words.
    """

    def __init__(self, place: Place, prefix: str = "load", *, pause: float = 0.02) -> None:
        self.made: list[Change] = []
        self.refused: list[Change] = []
        self.in_doubt: list[Change] = []
        self.answers: list[Answer] = []
        self.wrong: list[str] = []
        self._place = place
        self._prefix = prefix
        self._pause = pause
        self._ending = threading.Event()
        self._asking: dict[int, float] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def statuses(self) -> Counter[int]:
        """How many answers had which status."""
        return Counter(answer.status for answer in self.answers)

    def await_made(self, count: int, seconds: float = PATIENCE) -> None:
        """Until so many changes were acknowledged from now on."""
        wanted, deadline = len(self.made) + count, time.monotonic() + seconds
        while len(self.made) < wanted:
            assert time.monotonic() < deadline, f"too few changes: {self.statuses}"
            time.sleep(0.02)

    def await_answers(self) -> None:
        """Until whatever is being asked now is answered."""
        now, deadline = time.monotonic(), time.monotonic() + PATIENCE
        while any(since < now for since in [*self._asking.values()]):
            assert time.monotonic() < deadline, f"no answer: {self.statuses}"
            time.sleep(0.02)

    @contextmanager
    def asking(self) -> Iterator[float]:
        """The time; until the end of the block an answer is waited for."""
        started = self._asking[get_ident()] = time.monotonic()
        try:
            yield started
        finally:
            del self._asking[get_ident()]

    def _run(self, number: int) -> None:
        with self._place.client() as client:
            caller = _Caller(load=self, client=client)
            turn = 0
            while not self._ending.is_set():
                turn += 1
                for _ in caller.live(f"{self._prefix}-{number}-{turn}", deletes=turn % 3 == 0):
                    if self._ending.wait(self._pause):
                        break


@dataclass(frozen=True, kw_only=True)
class _Caller:
    load: Load
    client: httpx.Client

    def live(self, name: str, *, deletes: bool) -> Iterator[None]:
        """Make a user, change it, delete it; end where something was not acknowledged."""
        made = self._ask(Change("user.create", name), "POST", "/v1/users", json={"username": name})
        yield
        for step in range(2):
            if made is None:
                return
            full_name = f"{name} {step}"
            made = self._ask(
                Change("user.update", full_name),
                "PATCH",
                f"/v1/users/{made.json()['id']}",
                json={"full_name": full_name},
                headers={"If-Match": made.headers["ETag"]},
            )
            yield
        if made is not None and deletes:
            path, tag = f"/v1/users/{made.json()['id']}", made.headers["ETag"]
            self._ask(Change("user.delete", name), "DELETE", path, headers={"If-Match": tag})
            yield

    def _ask(
        self, change: Change, method: str, path: str, **given: object
    ) -> httpx.Response | None:
        """Ask once; the answer if the change was acknowledged."""
        with self.load.asking() as started:
            return self._answered(started, change, method, path, **given)

    def _answered(
        self, started: float, change: Change, method: str, path: str, **given: object
    ) -> httpx.Response | None:
        load = self.load
        try:
            answer = self.client.request(method, path, **given)  # type: ignore[arg-type]
        except httpx.TransportError as error:
            self._remember(started, 0)
            connected = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            (load.in_doubt if connected else load.refused).append(change)
            time.sleep(_AGAIN_SECONDS)
            return None
        self._remember(started, answer.status_code)
        if answer.is_success:
            load.made.append(change)
            return answer
        problem = _problem(answer)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or "Retry-After" not in problem:
            load.wrong.append(f"{method} {path}: {answer.status_code} {answer.text}")
        (load.in_doubt if problem.get("type") == IN_DOUBT else load.refused).append(change)
        return None

    def _remember(self, started: float, status: int) -> None:
        now = time.monotonic()
        self.load.answers.append(Answer(at=now, status=status, seconds=now - started))


def _problem(answer: httpx.Response) -> dict[str, str]:
    """The members of a problem document and its headers; nothing where it is none."""
    if answer.headers.get("Content-Type") != "application/problem+json":
        return {}
    headers = (
        {"Retry-After": answer.headers["Retry-After"]} if "Retry-After" in answer.headers else {}
    )
    return {**answer.json(), **headers}
