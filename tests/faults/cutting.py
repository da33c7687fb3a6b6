"""A socket before PostgreSQL's own, which cuts the connection when a client commits an INSERT."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

Moment = Literal["never", "before", "after"]
_NAME = ".s.PGSQL.5432"
_CHUNK = 65536


class Cutter:
    """Passes everything on; `moment` says whether a COMMIT, or its answer, is the last thing.

    Readers, and connections that are set up, commit as well: those pass.
    """

    def __init__(self, server: Path, folder: Path) -> None:
        self.moment: Moment = "never"
        self._server = str(server / _NAME)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / _NAME))
        self._listening.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Pass nothing on any more; every client must have gone."""
        self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            thread = threading.Thread(target=self._pass_on, args=(client, server))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Turn by turn: the protocol of libpq is questions and answers."""
        answers = threading.Thread(target=_copy, args=(server, client))
        answers.start()
        has_inserted = False
        while asked := client.recv(_CHUNK):
            has_inserted = has_inserted or b"INSERT" in asked
            is_end = has_inserted and b"COMMIT" in asked
            if is_end and self.moment == "before":
                break
            if is_end and self.moment == "after":
                # What the client would be told is read here, and nobody hears it.
                client.shutdown(socket.SHUT_RDWR)
            server.sendall(asked)
        server.shutdown(socket.SHUT_WR)
        answers.join()
        client.close()
        server.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    while answered := source.recv(_CHUNK):
        try:
            target.sendall(answered)
        except OSError:
            continue  # the client is gone; the server is heard out


@contextmanager
def cutter(server: Path, folder: Path) -> Iterator[Cutter]:
    """A socket in `folder` before the one in `server`."""
    with closing(Cutter(server, folder)) as cutting:
        yield cutting
