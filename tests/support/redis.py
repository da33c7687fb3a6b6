"""A real Redis, on a Unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NotReady

from support.relaying import wait_for


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of an empty server, which stores nothing."""
    with TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
        process = subprocess.Popen(
            [_program(), *options, "--dir", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"unix://{socket}"
        try:
            wait_for(lambda: _answers(url))
            yield url
        finally:
            process.terminate()
            process.wait()


def _program() -> str:
    found = shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip("Redis is not installed: apt-get install redis-server")
    return found


def _answers(url: str) -> bool:
    with Redis.from_url(url) as redis:
        try:
            return bool(redis.ping())
        except NotReady:
            return False
