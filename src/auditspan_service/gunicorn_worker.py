"""gunicorn's threaded worker, without the content of refused requests in its log lines.

gunicorn quotes what it refuses: the request line, a header's name or value, a chunk size. An API
key may be part of any of these.
"""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus
from ssl import SSLError
from typing import TYPE_CHECKING, Any

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from auditspan_service.exceptiontext import type_name

if TYPE_CHECKING:
    from types import TracebackType

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
    """A threaded worker that logs and answers a refused request without quoting it."""

    def handle_error(self, _req: object, client: Any, addr: Any, exc: Exception) -> None:  # noqa: ANN401 (as gunicorn gives them)
        """Log the kind of `exc` and answer with its status."""
        status = status_of(exc)
        peer = addr[0] if isinstance(addr, tuple) and addr else "a Unix socket"
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error(
                "request from %s failed: %s\n%s", peer, type_name(exc), frames(exc.__traceback__)
            )
        else:
            self.log.warning("malformed request from %s refused: %s", peer, type_name(exc))
        try:
            util.write_error(client, status.value, status.phrase, status.description)
        except OSError:
            self.log.debug("the client closed the connection before the error was sent")


class NoQuotes(logging.Filter):
    """Replace the exceptions that a log record would quote by their class names."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; every record passes."""
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
    """The status that answers a request on which gunicorn failed with `error`."""
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return status
    if isinstance(error, errors.ParseException):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.INTERNAL_SERVER_ERROR


def frames(trace: TracebackType | None) -> str:
    """The stack without the exception's own message."""
    return "".join(traceback.format_tb(trace)).rstrip("\n")
