"""`auditspan history`: one thing's events in the order in which the changes happened."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from auditspan.format.record import AuditRecord
from auditspan.format.record_parts import Actor, Service, Target
from auditspan.storage.new_events import insert_records
from auditspan.storage.tables import audit_tables
from auditspan_service.cli import main
from auditspan_service.models import Base
from support.service import RunningService


def record(number: int, change_id: int | None) -> AuditRecord:
    """An update of user 42."""
    return AuditRecord(
        event_id=f"017f22e2-79b0-7cc3-98c4-{number:012}",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        action="user.update",
        actor=Actor.system("test"),
        tx_id="tx",
        service=Service(name="shop"),
        target=Target(type="user", id="42"),
        changes={"full_name": {"old": None, "new": f"name {number}"}},
        change_id=change_id,
    )


@pytest.mark.parametrize(
    ("change_ids", "expected"),
    [([1, 3, 2], [0, 2, 1]), ([7, None, 5], [2, 0, 1]), ([None, None, None], [0, 1, 2])],
    ids=str,
)
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_history_is_in_the_order_of_the_changes(
    service: RunningService, change_ids: list[int | None], expected: list[int], options: list[str]
) -> None:
    """What was recorded late stands where it happened; the rest is in the order of the rows."""
    records = [record(number, change_id) for number, change_id in enumerate(change_ids)]
    with service.services.database.engine.begin() as connection:
        insert_records(connection, audit_tables(Base.metadata), records, None)
    environ = {
        "AUDITSPAN_DATA_DIR": str(service.services.settings.mac_key_file.parent),
        "AUDITSPAN_DATABASE_URL": service.services.settings.database_url,
    }
    done = CliRunner().invoke(main, ["history", "user", "42", *options], env=environ)
    lines = [line for line in done.stdout.splitlines() if "user.update" in line]
    ids = [json.loads(line)["event_id"] if options else line.split()[-1] for line in lines]
    assert [records[number].event_id for number in expected] == ids
