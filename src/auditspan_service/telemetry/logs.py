"""The standard `logging` module, to the console and to OpenTelemetry.

A record goes to the console as one JSON line or as readable text, and as a log record to the given
provider, each with the trace that was current. On the console a record cannot forge another: JSON
escapes what would end a line, text shows it escaped and indents stack traces.

What the telemetry libraries log about themselves stays on the console. An export that fails is
logged; exporting that line would fail, be logged, and so on.
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
from auditspan_service.telemetry.exception_text import ExceptionText, describe

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

LogFormat: TypeAlias = Literal["json", "text"]

_LOCAL = frozenset({"opentelemetry", "urllib3", "requests", "httpx", "httpcore"})
"""The libraries that export; matched against the first part of a logger's name."""

_QUIET = _LOCAL | {"werkzeug"}
"""Below WARNING not even on the console. werkzeug's access lines carry query strings."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def setup_logging(
    *,
    level: int | str = logging.INFO,
    log_format: LogFormat = "json",
    stream: TextIO | None = None,
    logger_provider: LoggerProvider | None = None,
) -> None:
    """Send every record from `level` on to `stream` (standard error) and to `logger_provider`.

    Called again, it replaces what it installed before. Handlers of others are left alone.
    """
    teardown_logging()
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(_ConsoleHandler(stream or sys.stderr, log_format))
    if logger_provider is not None:
        root.addHandler(_OtelHandler(logger_provider))


def teardown_logging() -> None:
    """Take away what `setup_logging` installed; the root level is Python's default again."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ConsoleHandler | _OtelHandler):
            root.removeHandler(handler)
            root.setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, trace_id, span_id.

    With `attributes` for what was given as `extra`, and `exception` (type, message, stacktrace).
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of ASCII."""
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
    """One line for people: time, level, logger, trace id, message; stack traces are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, and one indented line for each line of its stack trace."""
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
    """The instrumentation's handler, with what it lacks.

    It lets an exception from formatting escape into the application, takes an exception's words as
    they are, and passes on lone surrogates, over which the exporter loses the whole batch.
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
        """Nothing: the provider is flushed by its owner.

        The base class starts a thread for it, which is an error while the interpreter exits.
        """


def _is_worth_showing(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or _library(record) not in _QUIET


def _is_not_local(record: logging.LogRecord) -> bool:
    return _library(record) not in _LOCAL


def _library(record: logging.LogRecord) -> str:
    return record.name.partition(".")[0]


def _portable(record: logging.LogRecord) -> logging.LogRecord:
    """A copy whose words can be sent: the exception described, every text valid UTF-8."""
    sent = copy.copy(record)
    sent.msg, sent.args, sent.exc_info = _utf8(record.getMessage()), (), None
    if text := _exception(record):
        # The handler makes an attribute of whatever it finds on the record beside the usual.
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
