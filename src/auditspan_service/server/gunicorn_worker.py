"""gunicorn's threaded worker, without the content of refused requests in its log lines.

gunicorn quotes the refused request line, the name or value of a header, or a chunk size. Any of
these may contain an API key.

A request gets a thread when its head, and a body of usual size, have arrived; until then it waits
in the event loop, with a deadline. So slow clients hold no thread. Connections over TLS or HTTP/2,
which the service does not set up, are left to gunicorn.
"""

from __future__ import annotations

import errno
import logging
import socket
import time
import traceback
from functools import partial
from http import HTTPStatus
from ssl import SSLError
from typing import TYPE_CHECKING, Any, TypeAlias

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http import errors, get_parser  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from auditspan.telemetry import type_name
from auditspan_service.server.arrival import Arrival, Phase
from auditspan_service.server.bounded_reader import BoundedReader
from auditspan_service.server.waiting_connections import Connection, Wait, WaitingConnections

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

Request: TypeAlias = Any
"""A request of gunicorn, which has no types."""

ARRIVAL_SECONDS = 15.0
"""Time limit from the first byte of a request until a thread can serve it."""
BODY_SECONDS = 10.0
"""Time limit for the rest of a body that a thread reads."""
SEND_SECONDS = 10.0
"""Time limit for each piece of a response."""
_CLOSING_SECONDS = 2.0
_CLOSING_BYTES = 64 * 1024
_RECEIVED_BYTES = 64 * 1024
_NO_FILES = {errno.EMFILE, errno.ENFILE}

_STATUS: dict[type[Exception], HTTPStatus] = {
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.ForbiddenProxyRequest: HTTPStatus.FORBIDDEN,
    SSLError: HTTPStatus.FORBIDDEN,
    errors.InvalidResponseHeader: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidResponseHeaderName: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Threaded worker that waits for slow clients in its event loop.

    It logs and answers a refused request without quoting it.
    """

    def init_process(self) -> None:
        """Serve until the worker stops."""
        self._waiting: WaitingConnections | None = None
        self._stopping = False
        super().init_process()

    @property
    def waiting(self) -> WaitingConnections:
        """The waiting connections."""
        if self._waiting is None:
            self._waiting = WaitingConnections(self.poller)
        return self._waiting

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection; at the limit, first close the one that has waited longest."""
        if self.nr_conns >= self.worker_connections - 1:
            self._make_room()
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in _NO_FILES:
                raise
            self._make_room()

    def enqueue_req(self, conn: Connection) -> None:
        """Wait for the next request of a connection, and pass it to a thread."""
        if self.cfg.is_ssl or conn.is_http2 or self.cfg.http2_cleartext != "off":
            super().enqueue_req(conn)
            return
        if conn.parser is None:
            conn.parser = get_parser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader = BoundedReader(conn.sock)
            conn.initialized = True
        arrival = Arrival(conn.parser.unreader.take_buffered())
        conn.sock.settimeout(0)
        wait = Wait(
            deadline=time.monotonic() + ARRIVAL_SECONDS,
            on_readable=partial(self._receive, conn, arrival),
            on_late=partial(self._refuse, conn, arrival, HTTPStatus.REQUEST_TIMEOUT),
        )
        self.waiting.add(conn, wait)
        self._proceed(conn, arrival)

    def murder_pending(self) -> None:
        """Close the connections whose deadline has passed."""
        super().murder_pending()
        if not self.alive and not self._stopping:
            self._stopping = True
            self.waiting.limit_to(_CLOSING_SECONDS)
        self.waiting.expire()

    def finish_request(self, conn: Connection, fs: Future[Any]) -> None:
        """Wait for the next request, or close the connection without blocking a thread."""
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._close(conn)
        else:
            super().finish_request(conn, fs)

    def handle_request(self, req: Request, conn: Connection) -> bool:
        """Serve a request, with a deadline for its body and for each piece of the response."""
        reader = conn.parser.unreader
        if not isinstance(reader, BoundedReader):
            return bool(super().handle_request(req, conn))
        reader.deadline = time.monotonic() + BODY_SECONDS
        if not reader.whole:
            req.force_close()
        conn.sock.settimeout(SEND_SECONDS)
        try:
            return bool(super().handle_request(req, conn))
        except TimeoutError:
            self.log.warning("%s did not read the response in time", _peer(conn.client))
            raise StopIteration from None
        finally:
            reader.deadline = 0.0  # do not wait for the rest of the body

    def handle_error(
        self, _req: Request, client: socket.socket, addr: object, exc: Exception
    ) -> None:
        """Log the type of `exc` and answer with its status."""
        status = status_of(exc)
        peer = _peer(addr)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error(
                "request from %s failed: %s\n%s", peer, type_name(exc), frames(exc.__traceback__)
            )
        else:
            self.log.warning("malformed request from %s refused: %s", peer, type_name(exc))
        self._answer(client, status)

    def _receive(self, conn: Connection, arrival: Arrival) -> None:
        try:
            data = conn.sock.recv(_RECEIVED_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(conn)
            return
        arrival.add(data)
        if data:
            self._proceed(conn, arrival)
        elif arrival.data:
            self._dispatch(conn, arrival)  # the client may still read a response to this part
        else:
            self._drop(conn)

    def _proceed(self, conn: Connection, arrival: Arrival) -> None:
        if arrival.phase is Phase.TOO_LARGE:
            self.waiting.remove(conn)
            self._refuse(conn, arrival, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif arrival.phase in {Phase.OPEN, Phase.WHOLE}:
            self._dispatch(conn, arrival)

    def _dispatch(self, conn: Connection, arrival: Arrival) -> None:
        self.waiting.remove(conn)
        reader = conn.parser.unreader
        reader.deadline, reader.whole = None, arrival.phase is Phase.WHOLE
        reader.unread(bytes(arrival.data))
        super().enqueue_req(conn)

    def _refuse(self, conn: Connection, arrival: Arrival, status: HTTPStatus) -> None:
        if arrival.data:
            self.log.warning("request from %s refused: %s", _peer(conn.client), status.phrase)
            self._answer(conn.sock, status)
        self._close(conn)

    def _answer(self, client: socket.socket, status: HTTPStatus) -> None:
        try:
            util.write_error(client, status.value, status.phrase, status.description)
        except OSError:
            self.log.debug("the client closed the connection before the error response was sent")

    def _close(self, conn: Connection) -> None:
        """Close a connection after the client has, or after a delay (RFC 9112, section 9.6)."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.settimeout(0)
        except OSError:
            self._drop(conn)
            return
        wait = Wait(
            deadline=time.monotonic() + _CLOSING_SECONDS,
            on_readable=partial(self._discard, conn, bytearray()),
            on_late=partial(self._drop, conn),
        )
        self.waiting.add(conn, wait)

    def _discard(self, conn: Connection, read: bytearray) -> None:
        try:
            data = conn.sock.recv(_RECEIVED_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        read += data
        if not data or len(read) > _CLOSING_BYTES:
            self._drop(conn)

    def _make_room(self) -> None:
        oldest = self.waiting.oldest()
        if oldest is not None:
            self._drop(oldest)
        elif self.keepalived_conns:
            self.keepalived_conns[0].timeout = 0.0
            self.murder_keepalived()

    def _drop(self, conn: Connection) -> None:
        self.waiting.remove(conn)
        self.nr_conns -= 1
        conn.close()


class NoQuotes(logging.Filter):
    """Filter that replaces exceptions in log records by their class names."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place, and let it pass."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                type_name(one) if isinstance(one, BaseException) else one for one in record.args
            )
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            record.msg = f"{record.msg}: {type_name(error)}\n{frames(error.__traceback__)}"
            record.exc_info = None
        return True


def status_of(error: Exception) -> HTTPStatus:
    """Return the response status for a request on which gunicorn failed with `error`."""
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return status
    if isinstance(error, errors.ParseException):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _peer(address: object) -> str:
    return str(address[0]) if isinstance(address, tuple) and address else "a Unix socket"


def frames(trace: TracebackType | None) -> str:
    """Return the stack trace without the exception's own message."""
    return "".join(traceback.format_tb(trace)).rstrip("\n")
