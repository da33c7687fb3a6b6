"""Clients that go on making users whatever happens, and remember what was promised to them."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import httpx

CLIENTS = 4
PAUSE_SECONDS = 0.02


class Load:
    """Runs for the length of a `with` block.

    Attributes:
        acknowledged: names of the users whose creation was answered 201.
        refused: how many requests had another answer, or none.
    """

    def __init__(self, url: str, key: str, prefix: str) -> None:
        self.acknowledged: list[str] = []
        self.refused = 0
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._prefix = prefix
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        number = 0
        limits = httpx.Timeout(60, connect=10)
        with httpx.Client(headers=self._headers, trust_env=False, timeout=limits) as http:
            while not self._ending.wait(PAUSE_SECONDS):
                number += 1
                self._create(http, f"{self._prefix}-{client}-{number}")

    def _create(self, http: httpx.Client, username: str) -> None:
        try:
            answer = http.post(f"{self._url}/v1/users", json={"username": username})
        except httpx.HTTPError:
            self.refused += 1
            return
        if answer.status_code == httpx.codes.CREATED:
            self.acknowledged.append(username)
        else:
            self.refused += 1
