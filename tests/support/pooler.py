"""The real PgBouncer in transaction mode."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from support.patience import PATIENCE
from support.ports import free_port


@contextmanager
def pooled(
    url: str, folder: Path, users: Mapping[str, str] | None = None, *, size: int = 4
) -> Iterator[URL]:
    """The URL of this database through a pooler that shares a few server sessions.

    Args:
        url: the database, on a Unix socket.
        folder: holds the pooler's files; made here.
        users: further roles with their passwords.
        size: sessions for each role.
    """
    direct = make_url(url)
    socket_directory = str(direct.query["host"])
    known = {str(direct.username): "unused", **(users or {})}
    port = free_port()
    _write(folder, f"* = host={socket_directory}", known, port, size, socket_directory)
    process = subprocess.Popen(
        [program(), folder / "pgbouncer.ini"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        shared = direct.set(host="127.0.0.1", port=port, query={})
        _await_answer(shared)
        yield shared
    finally:
        process.terminate()
        process.wait()


def program() -> str:
    """The installed PgBouncer."""
    found = shutil.which(
        "pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    )
    assert found, "PgBouncer is not installed: apt-get install pgbouncer"
    return found


def _write(
    folder: Path, database: str, users: Mapping[str, str], port: int, size: int, sockets: str
) -> None:
    folder.mkdir(parents=True)
    # PgBouncer refuses to run as root, so it runs as the owner of the server's socket.
    owner = Path(sockets).stat().st_uid
    shutil.chown(folder, owner)
    lines = [f'"{name}" "{password}"\n' for name, password in users.items()]
    (folder / "users.txt").write_text("".join(lines))
    settings = {
        "listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "",
        "auth_type": "trust", "auth_file": folder / "users.txt", "pool_mode": "transaction",
        "default_pool_size": size, "max_client_conn": 500, "logfile": folder / "log",
        **({"user": pwd.getpwuid(owner).pw_name} if os.geteuid() == 0 else {}),
    }  # fmt: skip
    said = "\n".join(f"{name} = {value}" for name, value in settings.items())
    (folder / "pgbouncer.ini").write_text(f"[databases]\n{database}\n[pgbouncer]\n{said}\n")
    for one in folder.iterdir():
        one.chmod(0o644)


def _await_answer(url: URL) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _answers(url):
        assert time.monotonic() < deadline, "PgBouncer does not answer"
        time.sleep(0.1)


def _answers(url: URL) -> bool:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except OperationalError:
        return False
    finally:
        engine.dispose()
    return True
