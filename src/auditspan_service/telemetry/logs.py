"""Handlers of the standard `logging` module for the console and OpenTelemetry.

A record is written to the console as one JSON line or as readable text, and sent as a log record to
the given provider, each with the current trace. On the console a record cannot forge another one:
line breaks are escaped in JSON and in text, and stack traces in text are indented.

Log records of the telemetry libraries themselves are only written to the console. A failed export
is logged; exporting that record would fail, too, be logged, and so on. OTEL_LOG_LEVEL sets the
level of the SDK's own; by default they are shown from WARNING on.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

from opentelemetry import trace
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.semconv.attributes import exception_attributes

from auditspan.format import printable
from auditspan.telemetry import ExceptionText, describe
from auditspan.trail.settings import otel_variables

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

LogFormat: TypeAlias = Literal["json", "text"]

_SDK = "opentelemetry"

_LOCAL = frozenset({"opentelemetry", "urllib3", "requests", "httpx", "httpcore"})
"""The exporting libraries, matched against the first part of a logger's name."""

_QUIET = _LOCAL | {"werkzeug"}
"""Libraries without console output below WARNING. werkzeug's access log contains query strings."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def setup_logging(
    *,
    level: int | str = logging.INFO,
    log_format: LogFormat = "json",
    stream: TextIO | None = None,
    logger_provider: LoggerProvider | None = None,
) -> None:
    """Send every record at or above `level` to `stream` (standard error) and `logger_provider`.

    A second call replaces the handlers of the first. Other handlers are unchanged.
    """
    teardown_logging()
    root = logging.getLogger()
    root.setLevel(level)
    logging.getLogger(_SDK).setLevel(otel_variables.sdk_log_level() or logging.NOTSET)
    root.addHandler(_ConsoleHandler(stream or sys.stderr, log_format))
    if logger_provider is not None:
        root.addHandler(_OtelHandler(logger_provider))


def teardown_logging() -> None:
    """Remove the handlers of `setup_logging`, and reset the root level to Python's default."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ConsoleHandler | _OtelHandler):
            root.removeHandler(handler)
            root.setLevel(logging.WARNING)
            logging.getLogger(_SDK).setLevel(logging.NOTSET)


class JsonFormatter(logging.Formatter):
    """Formatter for one JSON object per line: time, level, logger, message, trace_id, span_id.

    The object also has `attributes` for `extra`, and `exception` (type, message, stacktrace).
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of ASCII."""
        context = trace.get_current_span().get_span_context()
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "trace_id": trace.format_trace_id(context.trace_id) if context.is_valid else None,
            "span_id": trace.format_span_id(context.span_id) if context.is_valid else None,
        }
        if extra := {name: value for name, value in vars(record).items() if name not in _STANDARD}:
            line["attributes"] = extra
        if text := _exception(record):
            line["exception"] = vars(text)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formatter for readable text: time, level, logger, trace id, message, indented stack trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, and one indented line per line of its stack trace."""
        context = trace.get_current_span().get_span_context()
        where = f" [{trace.format_trace_id(context.trace_id)}]" if context.is_valid else ""
        head = f"{_time(record)} {record.levelname:<8} {record.name}{where} {record.getMessage()}"
        text = _exception(record)
        trail = text.stacktrace.rstrip("\n").split("\n") if text else []
        return "\n".join([printable(head), *(f"    | {printable(line)}" for line in trail)])


class _ConsoleHandler(logging.StreamHandler[TextIO]):
    def __init__(self, stream: TextIO, log_format: LogFormat) -> None:
        super().__init__(stream)
        self.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
        self.addFilter(_is_worth_showing)


class _OtelHandler(LoggingHandler):
    """The instrumentation's handler, with three faults fixed.

    The base class raises formatting errors in the application, quotes exception messages unchanged,
    and passes on lone surrogates, with which the exporter loses the whole batch.
    """

    def __init__(self, logger_provider: LoggerProvider) -> None:
        super().__init__(logger_provider=logger_provider)
        self.addFilter(_is_not_local)

    def emit(self, record: logging.LogRecord) -> None:
        """Emit `record` as a log record of the current span. Never raises."""
        try:
            super().emit(_portable(record))
        except Exception:  # noqa: BLE001 - as every standard handler does
            self.handleError(record)

    def flush(self) -> None:
        """Do nothing: the provider's owner flushes it.

        The base class starts a thread, which fails while the interpreter exits.
        """


def _is_worth_showing(record: logging.LogRecord) -> bool:
    library = _library(record)
    if library == _SDK and logging.getLogger(_SDK).level:
        return True  # OTEL_LOG_LEVEL decides
    return record.levelno >= logging.WARNING or library not in _QUIET


def _is_not_local(record: logging.LogRecord) -> bool:
    return _library(record) not in _LOCAL


def _library(record: logging.LogRecord) -> str:
    return record.name.partition(".")[0]


def _portable(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy that can be exported: exception described, all text valid UTF-8."""
    sent = copy.copy(record)
    sent.msg, sent.args, sent.exc_info = _utf8(record.getMessage()), (), None
    if text := _exception(record):
        # The handler turns every non-standard member of the record into an attribute.
        vars(sent)[exception_attributes.EXCEPTION_TYPE] = text.type
        vars(sent)[exception_attributes.EXCEPTION_MESSAGE] = _utf8(text.message)
        vars(sent)[exception_attributes.EXCEPTION_STACKTRACE] = _utf8(text.stacktrace)
    return sent


def _exception(record: logging.LogRecord) -> ExceptionText | None:
    error = record.exc_info[1] if record.exc_info else None
    return describe(error) if error else None


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
