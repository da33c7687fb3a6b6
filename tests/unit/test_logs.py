"""Logging: one record on the console and one in OpenTelemetry, neither forged nor lost."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy.exc import IntegrityError

from auditspan.telemetry import describe
from auditspan_service.telemetry.logs import (
    JsonFormatter,
    TextFormatter,
    setup_logging,
    teardown_logging,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk._logs import ReadableLogRecord

ANY_TEXT = st.text(st.characters())
"""Every code point, lone surrogates included."""


def in_memory_exporter() -> InMemoryLogRecordExporter:
    """An exporter that keeps what it gets."""
    return InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Remove the handlers that a test installs."""
    yield
    teardown_logging()


@pytest.fixture
def exporter() -> InMemoryLogRecordExporter:
    """Return the OpenTelemetry log records of the test."""
    return in_memory_exporter()


@pytest.fixture
def provider(exporter: InMemoryLogRecordExporter) -> LoggerProvider:
    """A provider that exports at once to `exporter`."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return provider


def record_of(message: str, *, error: BaseException | None = None) -> logging.LogRecord:
    """A log record as the application would make it."""
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("app", logging.ERROR, __file__, 1, message, (), exc_info)


def fail_with(error: Exception) -> None:
    """Raise `error`, one frame down."""
    raise error


def exported(exporter: InMemoryLogRecordExporter) -> list[ReadableLogRecord]:
    """The log records that arrived."""
    return list(exporter.get_finished_logs())


def test_json_line_whole() -> None:
    """A JSON line has the time in UTC, the message, the ids of the current span and the extras."""
    record = record_of("saved")
    record.created = 1767225600.25
    record.user = "kim"
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("request") as span:
        line = JsonFormatter().format(record)

    context = span.get_span_context()
    assert {
        "time": "2026-01-01T00:00:00.250000Z",
        "level": "ERROR",
        "logger": "app",
        "message": "saved",
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "attributes": {"user": "kim"},
    } == json.loads(line)


def test_text_line_whole() -> None:
    """A text line has the same for people, with the trace id to look for."""
    record = record_of("saved")
    record.created = 1767225600.25
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("request") as span:
        inside = TextFormatter().format(record)
    outside = TextFormatter().format(record)

    trace_id = f"{span.get_span_context().trace_id:032x}"
    assert f"2026-01-01T00:00:00.250000Z ERROR    app [{trace_id}] saved" == inside
    assert outside == "2026-01-01T00:00:00.250000Z ERROR    app saved"


@given(ANY_TEXT)
def test_text_message_cannot_forge_a_line(message: str) -> None:
    """Whatever a message holds, it is one line without anything that moves the cursor."""
    line = TextFormatter().format(record_of(message))

    assert [line] == line.splitlines()
    assert line.isprintable()


@given(ANY_TEXT)
def test_text_exception_cannot_forge_a_line(message: str) -> None:
    """Whatever an exception says, each of its lines is indented and so no record of its own."""
    head, *trail = TextFormatter().format(record_of("x", error=ValueError(message))).splitlines()

    assert head.endswith(" ERROR    app x")
    assert trail
    assert all(line.startswith("    | ") and line.isprintable() for line in trail)


@given(ANY_TEXT)
def test_json_line_is_one_line_of_ascii(message: str) -> None:
    """Whatever a message and an exception hold, the JSON is one ASCII line that reads back."""
    line = JsonFormatter().format(record_of(message, error=ValueError(message)))

    assert [line] == line.splitlines()
    assert line.isascii()
    assert message == json.loads(line)["message"]


def test_json_takes_any_extra() -> None:
    """An extra that JSON does not know is written as text instead of losing the record."""
    record = record_of("x")
    record.thing = object

    assert json.loads(JsonFormatter().format(record))["attributes"]["thing"] == "<class 'object'>"


def test_exception_reaches_opentelemetry_with_its_stack(
    provider: LoggerProvider, exporter: InMemoryLogRecordExporter
) -> None:
    """A logged exception carries type, message and stack trace, and the ids of the span."""
    setup_logging(stream=io.StringIO(), logger_provider=provider)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("request") as span:
        try:
            fail_with(LookupError("no such thing"))
        except LookupError:
            logging.getLogger("app").exception("failed for %s", "kim", extra={"attempt": 2})

    (record,) = exported(exporter)
    sent = record.log_record
    attributes = dict(cast("dict[str, Any]", sent.attributes))
    stacktrace = attributes.pop("exception.stacktrace")
    assert (
        sent.body,
        sent.severity_text,
        sent.severity_number.value if sent.severity_number else None,
    ) == ("failed for kim", "ERROR", 17)
    assert attributes == {
        "attempt": 2,
        "exception.type": "LookupError",
        "exception.message": "no such thing",
    }
    assert "test_exception_reaches_opentelemetry_with_its_stack" in stacktrace
    assert (span.get_span_context().trace_id, span.get_span_context().span_id) == (
        sent.trace_id,
        sent.span_id,
    )


@given(message=ANY_TEXT)
def test_every_record_can_be_encoded(message: str) -> None:
    """No message makes an export fail, which would lose every record of its batch."""
    exporter = in_memory_exporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    setup_logging(stream=io.StringIO(), logger_provider=provider)

    logging.getLogger("app").error("%s", message, exc_info=ValueError(message))

    (record,) = exported(exporter)
    texts = [record.log_record.body, *(record.log_record.attributes or {}).values()]
    assert all(isinstance(text, str) and text.encode() is not None for text in texts)


@pytest.mark.parametrize(
    "logger",
    ["opentelemetry.sdk._shared_internal", "urllib3.connectionpool", "requests", "httpx"],
)
def test_exporters_do_not_export_their_own_records(
    logger: str, provider: LoggerProvider, exporter: InMemoryLogRecordExporter
) -> None:
    """Records of the exporting libraries go to the console from WARNING on, and nowhere else."""
    console = io.StringIO()
    setup_logging(level="DEBUG", stream=console, logger_provider=provider)

    logging.getLogger(logger).debug("connecting")
    logging.getLogger(logger).error("no connection")

    assert exported(exporter) == []
    assert [json.loads(line)["message"] for line in console.getvalue().splitlines()] == [
        "no connection"
    ]


def test_access_lines_with_query_strings_are_not_shown() -> None:
    """The development server's access lines, query strings and all, stay out of the log."""
    console = io.StringIO()
    setup_logging(stream=console)

    logging.getLogger("werkzeug").info('"GET /v1/users?token=s3cret HTTP/1.1" 200 -')

    assert console.getvalue() == ""


def test_setup_is_idempotent(provider: LoggerProvider, exporter: InMemoryLogRecordExporter) -> None:
    """After several set-ups each record is there once, on the last stream, at the last level."""
    first, last = io.StringIO(), io.StringIO()
    before = logging.getLogger().handlers[:]
    setup_logging(level="DEBUG", stream=first, logger_provider=provider)
    setup_logging(level="INFO", log_format="text", stream=last, logger_provider=provider)

    logging.getLogger("app").debug("unheard")
    logging.getLogger("app").info("heard")

    assert first.getvalue() == ""
    assert 1 == last.getvalue().count("heard") == len(exported(exporter))
    teardown_logging()
    assert (before, logging.WARNING) == (logging.getLogger().handlers, logging.getLogger().level)


def test_a_wrong_format_does_not_reach_the_application(
    provider: LoggerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log call whose arguments do not fit is reported on stderr and raises nothing."""
    complaints = io.StringIO()
    monkeypatch.setattr(sys, "stderr", complaints)
    setup_logging(stream=io.StringIO(), logger_provider=provider)
    handlers = [handler for handler in logging.getLogger().handlers if is_ours(handler)]
    monkeypatch.setattr(logging.getLogger(), "handlers", handlers)  # pytest's own one raises

    logging.getLogger("app").info("%d users", "three")

    assert complaints.getvalue().count("--- Logging error ---") == len(handlers) == 2


def is_ours(handler: logging.Handler) -> bool:
    """Return whether `setup_logging` installed this handler."""
    return type(handler).__module__ == "auditspan_service.telemetry.logs"


class Diagnostics:
    """Diagnostics of a psycopg error beside its text."""

    message_primary = 'duplicate key value violates unique constraint "uq_users_email"'


class UniqueViolation(Exception):  # noqa: N818 - psycopg's name
    """An exception as psycopg raises it."""

    sqlstate = "23505"
    diag = Diagnostics()


class InvalidText(Exception):  # noqa: N818 - psycopg's name is InvalidTextRepresentation
    """An exception whose primary message quotes the value."""

    sqlstate = "22P02"
    diag = Diagnostics()


@pytest.mark.parametrize(
    ("driver_error", "said"),
    [
        (
            UniqueViolation("duplicate key …\nDETAIL:  Key (email)=(kim@s3cret) already exists."),
            'duplicate key value violates unique constraint "uq_users_email" (SQLSTATE 23505)',
        ),
        (
            InvalidText('invalid input syntax for type uuid: "s3cret"'),
            "message hidden, because it may quote values (SQLSTATE 22P02)",
        ),
        (Exception("unknown driver: s3cret"), "message hidden, because it may quote values"),
        (
            sqlite3.IntegrityError("UNIQUE constraint failed: users.email"),
            "UNIQUE constraint failed: users.email",
        ),
    ],
)
def test_values_in_driver_messages_are_not_logged(driver_error: Exception, said: str) -> None:
    """An exception's text names the constraint and the code, not the value, in every cause."""
    in_sqlalchemy = IntegrityError("INSERT …", None, driver_error, hide_parameters=True)
    in_sqlalchemy.__cause__ = driver_error
    in_application = RuntimeError(f"could not save: {in_sqlalchemy}")
    in_application.__cause__ = in_sqlalchemy

    text = describe(in_application)

    assert said in text.message
    assert text.stacktrace.count(said) == 3
    assert "s3cret" not in text.message + text.stacktrace


def test_describes_an_exception_that_cannot_speak() -> None:
    """An exception whose own text fails is described by its type."""

    class Mute(Exception):  # noqa: N818 - a word for the test
        def __str__(self) -> str:
            raise RuntimeError

    text = describe(Mute())

    assert text.message == "<str() failed>"
    assert text.type.endswith("Mute")
