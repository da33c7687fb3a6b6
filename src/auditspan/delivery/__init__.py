"""Delivery of every sealed row to every sink, until the sink has acknowledged it."""

from __future__ import annotations

from auditspan.delivery.acknowledgement import Acknowledgement
from auditspan.delivery.answers import read_answer
from auditspan.delivery.backlog import Backlog, Undelivered, read_backlog
from auditspan.delivery.backoff import Backoff
from auditspan.delivery.batch import UNFIT, prepare, record_of, send_all
from auditspan.delivery.cursors import (
    NOTHING,
    Cursors,
    Item,
    load_cursors,
    log_names,
    outgoing,
    rows_of,
    stored_cursors,
    trail_name,
)
from auditspan.delivery.encoding import encode
from auditspan.delivery.otlp_sink import Compression, OtlpSink, TlsFiles
from auditspan.delivery.outbound import is_loopback, pool_manager, proxy_for
from auditspan.delivery.relay import Relay
from auditspan.delivery.request_headers import Redaction, checked_headers, shown_url
from auditspan.delivery.sinks import ConsoleSink, FileSink, Sink, write_records

__all__ = [
    "NOTHING",
    "UNFIT",
    "Acknowledgement",
    "Backlog",
    "Backoff",
    "Compression",
    "ConsoleSink",
    "Cursors",
    "FileSink",
    "Item",
    "OtlpSink",
    "Redaction",
    "Relay",
    "Sink",
    "TlsFiles",
    "Undelivered",
    "checked_headers",
    "encode",
    "is_loopback",
    "load_cursors",
    "log_names",
    "outgoing",
    "pool_manager",
    "prepare",
    "proxy_for",
    "read_answer",
    "read_backlog",
    "record_of",
    "rows_of",
    "send_all",
    "shown_url",
    "stored_cursors",
    "trail_name",
    "write_records",
]
