"""Blocks of the how-to pages that the tests of this folder do not run, and why."""

from __future__ import annotations

from documents.page import Block

ELSEWHERE = {
    "answer-an-auditor.md": "integration/test_reading_pages.py",
    "enrich-and-redact.md": "integration/library/test_enrichment.py",
    "query-with-clickhouse.md": "kafka/test_pages.py",
    "send-to-kafka.md": "kafka/test_pages.py",
    "generate-a-client.md": "integration/service/test_generated_client.py",
    "record-with-opentelemetry.md": "integration/service/test_otlp_senders.py",
    "say-who-acts.md": "integration/test_say_who_acts.py",
    "see-an-earlier-state.md": "integration/test_reading_pages.py",
    "test-your-application.md": "integration/testing/test_plugin.py",
}
"""Pages whose blocks another test extracts and runs."""

_DOCKER = "needs a Docker engine; tests/containers does the same"
_KUBERNETES = "needs a cluster; tests/unit/test_kubernetes.py and `make validate` check the files"
_PARTITIONS = "names of a month that changes; tests/integration/scaling/test_partitions.py"
_MIGRATION = "part of a migration; tests/integration/trust/test_alembic.py runs these operations"
_CLIENTS = "tests/integration/service/test_ingest_examples.py runs it"
_SCHEMAS = "PostgreSQL's schemas; tests/integration/capture/test_translated_schemas.py"
_RETENTION = "needs a trail of 400 days; tests/integration/test_every_command.py runs the commands"
_PURGER = "needs the roles; tests/integration/retention/test_roles.py"
_BACKEND = "needs a backend; tests/backends (`make test-backends`)"
_KAFKA = "a program of Kafka's distribution; tests/kafka does the same with its own client"

NOT_RUN = {
    "deploy-on-kubernetes.md": {
        "deploy/make-secrets": _KUBERNETES,
        "docker run --rm --user 0": _KUBERNETES,
        'docker run --rm --user "$(id -u)"': _KUBERNETES,
        "kubectl --namespace auditspan delete job": _KUBERNETES,
        "kubectl --namespace auditspan exec": _KUBERNETES,
    },
    "deploy-with-compose.md": {
        "deploy/make-secrets": _DOCKER,
        "docker compose exec service auditspan keys create": _DOCKER,
        "docker compose exec service auditspan tour": _DOCKER,
        "docker compose exec service auditspan events": _DOCKER,
        "git pull": _DOCKER,
        "rm deploy/secrets/app_database_url": _DOCKER,
        "docker compose stop": _DOCKER,
        "docker build": _DOCKER,
    },
    "encrypt-with-tls.md": {
        "otelcol --config": "needs certificates; tests/integration/sinks/test_tls.py",
        "deploy/make-certificates": _DOCKER,
    },
    "guard-the-tables.md": {
        "from alembic import op": _MIGRATION,
        "from auditspan.alembic import record_rows": _MIGRATION,
    },
    "partition-the-trail.md": {
        "from alembic import op": _MIGRATION,
        "$ AUDITSPAN_DATABASE_URL=": _PARTITIONS,
        "CREATE UNIQUE INDEX": _PARTITIONS,
        "GRANT EXECUTE": _PARTITIONS,
        "ALTER TABLE audit_event DETACH": _PARTITIONS,
    },
    "record-from-another-service.md": {
        "const event = {": _CLIENTS,
        "package main": _CLIENTS,
        "import os": _CLIENTS,
        "curl --fail-with-body": _CLIENTS,
    },
    "retain-and-remove.md": {
        "$ auditspan retain": _RETENTION,
        "$ auditspan purge": _RETENTION,
        "auditspan hold add": _RETENTION,
        "CREATE ROLE lee": _PURGER,
        "AUDITSPAN_DATABASE_URL=": _PURGER,
        "with audit_context": "tests/integration/retention/test_purge.py does the same",
        "$ curl --silent": "tests/integration/service/test_retention.py does the same",
    },
    "see-it-in-a-backend.md": {
        "otelcol --config": _BACKEND,
        "victoria-logs": _BACKEND,
        "auditspan reconcile --backend": _BACKEND,
        "COMPOSE_PROFILES=jaeger": _DOCKER,
        "java -jar": _BACKEND,
        "COMPOSE_PROFILES=grafana": _DOCKER,
        "17 * * * *": _DOCKER,
    },
    "send-to-kafka.md": {
        "kafka-topics.sh": _KAFKA,
        "kafka-console-consumer.sh": _KAFKA,
    },
    "use-several-databases.md": {
        "engine = create_engine(url, connect_args": _SCHEMAS,
    },
}
"""Blocks that no test runs as they are, by page and how they begin, with the reason."""

INSTALLS = "$ pip install"
"""Begins what tests/wheels does: it installs the built wheel in empty environments."""


def reason_not_to_run(block: Block) -> str | None:
    """Return why no test runs a block as it is."""
    beginnings = NOT_RUN.get(block.page.name, {})
    found = (why for start, why in beginnings.items() if block.first.startswith(start))
    return next(found, None)
