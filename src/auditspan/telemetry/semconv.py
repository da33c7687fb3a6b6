"""Telemetry names that auditspan emits; equal to `telemetry-schema/registry.yaml`.

They follow the semantic conventions where those exist, and otherwise OTEP 0267, a proposal for an
audit signal whose pull request (opentelemetry-specification#5059) is closed. The proposal for an
audit logging SIG (open-telemetry/community#2409) is open.
"""

from __future__ import annotations

EVENT_PREFIX = "audit."
"""The prefix of span event and log record names, which are ``audit.`` + action."""

EVENT_TRUNCATED = "audit.truncated"
EVENT_CHECKPOINT = "audit.checkpoint"

RECORD_ID = "audit.record.id"
ACTION = "audit.action"
VERB = "audit.verb"
OUTCOME = "audit.outcome"
TARGET_TYPE = "audit.target.type"
TARGET_ID = "audit.target.id"
ACTOR_TYPE = "audit.actor.type"
ACTOR_ID = "audit.actor.id"
SEQUENCE_NUMBER = "audit.sequence.number"
ROW_ID = "audit.row.id"
TRAIL_NAME = "audit.trail.name"
SCHEMA_VERSION = "audit.schema.version"
INTEGRITY_VALUE = "audit.integrity.value"
TREE_SIZE = "audit.tree.size"
TREE_ROOT = "audit.tree.root"
KEY_ID = "audit.key.id"
TRUNCATED_COUNT = "audit.truncated.count"

ACTOR_LABEL = "audit.actor.label"
ON_BEHALF_OF_TYPE = "audit.on_behalf_of.type"
ON_BEHALF_OF_ID = "audit.on_behalf_of.id"
ON_BEHALF_OF_LABEL = "audit.on_behalf_of.label"
TARGET_VERSION = "audit.target.version"
REASON = "audit.reason"
CHANGES = "audit.changes"

LOG_RECORD_UID = "log.record.uid"
CLIENT_ADDRESS = "client.address"
USER_AGENT_ORIGINAL = "user_agent.original"
HTTP_REQUEST_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"

SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE_ID = "service.instance.id"

SCOPE = "auditspan"
"""The instrumentation scope of all names below."""

SINK = "audit.sink"
ACKNOWLEDGEMENT = "audit.sink.acknowledgement"

METRIC_EMITTED = "audit.records.emitted"
METRIC_EXPORTED = "audit.records.exported"
METRIC_DROPPED = "audit.records.dropped"
METRIC_QUEUE_DEPTH = "audit.queue.depth"
METRIC_QUEUE_AGE = "audit.queue.age"
METRIC_SEAL_LAG = "audit.seal.lag"
METRIC_EXPORT_DURATION = "audit.export.duration"
METRIC_EXPORT_FAILURES = "audit.export.failures"
METRIC_RETRY_AFTER_CAPPED = "audit.export.retry_after.capped"
METRIC_VERIFY_FINDINGS = "audit.verify.findings"
METRIC_VERIFY_SEALED = "audit.verify.sealed"
METRIC_VERIFY_TIME = "audit.verify.time"
