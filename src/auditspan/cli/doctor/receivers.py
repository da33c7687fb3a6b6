"""Checks of the receivers that audit records are delivered to."""

from __future__ import annotations

from urllib.parse import urlsplit

from auditspan.cli.doctor.examination import Examination
from auditspan.cli.doctor.file_mode import is_open
from auditspan.cli.doctor.kafka_topic import review_topic
from auditspan.delivery import Sink, is_loopback, shown_url
from auditspan.delivery.kafka import KafkaSink
from auditspan.errors import AuditConfigError, SinkError
from auditspan.trail.settings import Destination, destination_sink, kafka_client

_SECONDS = 5.0


def examine_receiver(
    examination: Examination, where: str, destination: Destination, hint: str = ""
) -> None:
    """Check that a receiver answers, and what its settings mean for delivered records."""
    if destination.is_kafka:
        _examine_topic(examination, where, destination)
        return
    _examine_tls(examination, where, destination)
    if destination.acknowledgement == "http":
        examination.notes.append(
            f"{where}: acknowledgement is http, so any 2xx answer of "
            f"{shown_url(destination.endpoint)} counts as delivered, even of a server that "
            "stored nothing. For a collector use strict."
        )
    sink = destination_sink(destination, name="doctor", timeout=_SECONDS)
    _examine_answer(examination, "collector", where, sink, hint)


def _examine_answer(
    examination: Examination, kind: str, where: str, sink: Sink, hint: str = ""
) -> bool:
    """Check that a sink takes an empty batch; return whether it does."""
    try:
        sink.send([])
    except SinkError as error:
        examination.add(
            kind,
            f"{where}: {error.message}. Records wait in the table until it accepts them.{hint}",
        )
        return False
    finally:
        sink.close()
    return True


def _examine_topic(examination: Examination, where: str, destination: Destination) -> None:
    """Check that a Kafka topic answers, and that it keeps records."""
    path = destination.properties
    try:
        client = kafka_client(destination.endpoint, path)
        sink = KafkaSink(client, timeout=_SECONDS)
        is_there = _examine_answer(examination, "kafka", where, sink)
    except AuditConfigError as error:
        examination.add("kafka", f"{where}: {error.message}")
        return
    if path and is_open(path):
        examination.add(
            "kafka",
            f"{where}: the properties {path}, which may hold a password, are accessible to other "
            f"users: run `chmod 600 {path}`.",
        )
    if is_there:
        review = review_topic(client, _SECONDS)
        for sentence in review.problems:
            examination.add("kafka", f"{where}: {sentence}")
        examination.notes += [f"{where}: {sentence}" for sentence in review.notes]
        examination.unchecked += [f"{where}: {sentence}" for sentence in review.unchecked]


def _examine_tls(examination: Examination, where: str, destination: Destination) -> None:
    """Check that the TLS files exist and that the URL uses TLS."""
    named = (destination.certificate, destination.client_certificate, destination.client_key)
    for path in filter(None, named):
        if not path.is_file():
            examination.add("tls", f"{where}: the file {path} does not exist.")
    if destination.client_key and not destination.client_certificate:
        examination.add("tls", f"{where}: a client key is set without a client certificate.")
    is_plain = destination.endpoint.startswith("http://")
    if (
        destination.headers
        and is_plain
        and not is_loopback(urlsplit(destination.endpoint).hostname or "")
    ):
        examination.add(
            "headers",
            f"{where}: headers are set, but the URL begins with http://, so credentials in them "
            "are sent unencrypted. Use https://.",
        )
    if any(named) and is_plain:
        examination.add(
            "tls",
            f"{where}: certificates are set, but the URL begins with http://, so records are sent "
            "unencrypted. Use https://.",
        )
