"""Kafka's client library, and the options with which it connects.

The library is librdkafka, through `confluent-kafka`, and needs the extra `kafka`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from auditspan.delivery.kafka.address import KafkaAddress
from auditspan.delivery.request_headers import Redaction
from auditspan.errors import AuditConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Consumer, KafkaError, Producer
    from confluent_kafka.admin import AdminClient

_Client = TypeVar("_Client")

_NO_CREATION = {"allow.auto.create.topics": False}
"""Asking for a topic must not create it."""

_OURS = {
    **_NO_CREATION,
    "acks": "all",
    "enable.idempotence": True,
    "enable.gapless.guarantee": True,
    "message.timeout.ms": 0,
    "partitioner": "murmur2_random",
}
"""Properties of the producer that the guarantees rest on."""

_RESERVED = frozenset(
    {
        *_OURS,
        *("bootstrap.servers", "metadata.broker.list", "request.required.acks"),
        *("delivery.timeout.ms", "transactional.id", "plugin.library.paths"),
        *("queue.buffering.max.messages", "queue.buffering.max.kbytes"),
    }
)
"""Properties that a file must not set."""

_SECRET = ("password", "secret", "key.pem", "jaas", "oauthbearer.config")
_SILENT = logging.Logger("librdkafka", logging.CRITICAL + 1)  # noqa: LOG001 (outside the tree)
"""The library's own log is discarded: its failures are reported as errors."""

_QUEUED_KIB = 16 * 1024
"""The messages that a consumer fetches ahead."""


def read_properties(path: Path) -> dict[str, str]:
    """Read a file of client properties: `name=value` lines, with `#` before comments.

    Raises:
        AuditConfigError: the file cannot be read, a line is invalid, or a property is reserved.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise AuditConfigError(f"the Kafka properties {path} cannot be read: {reason}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith(("#", "!")):
            name, equals, value = (part.strip() for part in line.partition("="))
            if not equals or not name:
                raise AuditConfigError(f"{path}, line {number}: expected `name=value`")
            found[name] = value
    if reserved := sorted(_RESERVED & set(found)):
        raise AuditConfigError(
            f"{path} must not set {', '.join(reserved)}: delivery depends on auditspan's own values"
        )
    return found


@dataclass(frozen=True, kw_only=True)
class KafkaClient:
    """Connection options of one topic.

    Attributes:
        address: the brokers and the topic.
        properties: the properties of the client, such as `security.protocol`.
    """

    address: KafkaAddress
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)

    def check(self) -> None:
        """Check that the library is installed, and the properties and their files are valid.

        Raises:
            AuditConfigError: they are not.
        """
        self.producer(lambda _: None)

    def producer(self, on_error: Callable[[KafkaError], None]) -> Producer:
        """Create a producer.

        Raises:
            AuditConfigError: the extra is not installed, or a property is invalid.
        """
        made: Producer = self._made(library().Producer, {**_OURS, "error_cb": on_error})
        return made

    def consumer(self, on_error: Callable[[KafkaError], None]) -> Consumer:
        """Create a consumer that belongs to no group and commits nothing.

        Raises:
            AuditConfigError: as `producer`.
        """
        group = self.properties.get("group.id", "auditspan")
        alone = {"group.id": group, "enable.auto.commit": False, "error_cb": on_error}
        reading = {
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": _QUEUED_KIB,
        }
        options = {**alone, **reading, "auto.offset.reset": "error"}
        made: Consumer = self._made(library().Consumer, options)
        return made

    def admin(self) -> AdminClient:
        """Create an administration client.

        Raises:
            AuditConfigError: as `producer`.
        """
        made: AdminClient = self._made(library().admin.AdminClient, _NO_CREATION)
        return made

    @property
    def redacted(self) -> Redaction:
        """Removal of the secrets among the properties from a text."""
        secrets = {
            name: value
            for name, value in self.properties.items()
            if any(part in name for part in _SECRET)
        }
        return Redaction(secrets)

    def _made(self, kind: Callable[..., _Client], options: Mapping[str, Any]) -> _Client:
        common = {"bootstrap.servers": self.address.servers}
        try:
            return kind({**common, **self.properties, **options}, logger=_SILENT)
        except Exception as error:  # the library's own, or that of a wrong type
            raise AuditConfigError(
                f"the Kafka properties are invalid: {self.redacted(reason_of(error))}"
            ) from error


def library() -> ModuleType:
    """Return the client library.

    Raises:
        AuditConfigError: it is not installed.
    """
    try:
        import confluent_kafka
        import confluent_kafka.admin
    except ImportError as error:
        raise AuditConfigError(
            "A kafka:// destination needs the extra 'kafka', which is not installed: run "
            "`pip install 'auditspan[kafka]'`."
        ) from error
    return confluent_kafka


def reason_of(error: object) -> str:
    """Return the text of an error of the library, without its codes."""
    if isinstance(error, Exception) and error.args:
        error = error.args[0]
    said = getattr(error, "str", None)
    return str(said()) if callable(said) else str(error)
