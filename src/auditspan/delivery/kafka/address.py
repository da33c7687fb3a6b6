"""Addresses of Kafka topics: ``kafka://broker1:9092,broker2:9092/topic?format=json``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

SCHEME = "kafka"
MessageFormat: TypeAlias = Literal["protobuf", "json"]
"""The encoding of messages: what the collector's Kafka receiver calls `otlp_proto`, `otlp_json`."""

_PORT = 9092
_FORMATS = ("protobuf", "json")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SERVER = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_EXAMPLE = "kafka://broker1:9092,broker2:9092/topic?format=json"


def is_kafka(url: str) -> bool:
    """Return True if the URL names a Kafka topic."""
    return url.lower().startswith(f"{SCHEME}:")


@dataclass(frozen=True, kw_only=True)
class KafkaAddress:
    """Address of a topic.

    Attributes:
        servers: the brokers to ask first, as `host:port`, separated by commas.
        topic: the name of the topic.
        format: the encoding of the messages that are sent there.
    """

    servers: str
    topic: str
    format: MessageFormat = "protobuf"

    @classmethod
    def parse(cls, url: str) -> KafkaAddress:
        """Parse a URL.

        Raises:
            ValueError: it is invalid; the message does not repeat it.
        """
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise ValueError("it must not contain a user or a password: use a properties file")
        servers = [_server(one) for one in parts.netloc.split(",")]
        topic, query = parts.path.strip("/"), parse_qsl(parts.query, keep_blank_values=True)
        if parts.scheme != SCHEME or not all(servers) or not _is_topic(topic) or parts.fragment:
            raise ValueError(f"expected a URL such as {_EXAMPLE}")
        chosen = dict(query).get("format", "protobuf")
        if {name for name, _ in query} - {"format"} or chosen not in _FORMATS:
            raise ValueError("the only parameter of a Kafka URL is format=protobuf or format=json")
        return cls(
            servers=",".join(map(str, servers)), topic=topic, format=cast("MessageFormat", chosen)
        )


def _server(text: str) -> str | None:
    """Return a broker with its port; None if it is invalid."""
    found = _SERVER.fullmatch(text)
    port = int(found[2] or _PORT) if found else 0
    return f"{found[1]}:{port}" if found and 0 < port < 2**16 else None


def _is_topic(name: str) -> bool:
    return bool(_TOPIC.fullmatch(name)) and name not in {".", ".."}
