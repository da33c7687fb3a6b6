"""Settings that keep personal data out of the events of the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auditspan import Privacy
from auditspan.mapping import keep_private
from auditspan.mapping.privacy import privacy_of, set_privacy
from auditspan.storage import snapshot
from auditspan.verify import check_state
from auditspan_service.models import Base
from support.service import RunningService, running_service, settings_at

AGENT = {"User-Agent": "Mozilla/5.0 (test)"}
EVENT = {
    "action": "invoice.sent",
    "actor": {"type": "user", "id": "9"},
    "target": {"type": "invoice", "id": "1"},
    "metadata": {"billing_phone": "+49 30 1234", "copies": 2},
}


@pytest.fixture
def private(tmp_path: Path, database_url: str) -> Iterator[RunningService]:
    """A service with all three settings; the models are those of the whole process."""
    before = privacy_of(Base.metadata)
    settings = settings_at(
        tmp_path / "data",
        database_url,
        redact="full_name, *_phone",
        record_client_address=False,
        record_user_agent=False,
    )
    with running_service(settings) as running:
        yield running
    set_privacy(Base.metadata, before)
    keep_private(Base.metadata, Privacy())


def test_personal_data_is_kept_out_of_events(private: RunningService) -> None:
    """Names are redacted in columns and in events of other services; the tables match the trail."""
    caller = private.caller()
    user = {"username": "kim", "full_name": "Kim Park"}
    assert 201 == caller("POST", "/v1/users", json=user, headers=AGENT).status_code
    assert 201 == caller("POST", "/v1/audit-events", json=EVENT, headers=AGENT).status_code
    *_, created, sent = private.bodies()
    assert ("user.create", "kim") == (created["action"], created["changes"]["username"]["new"])
    assert created["changes"]["full_name"]["new"]["$redacted"]
    assert (None, None) == (created["request"]["client_address"], created["request"]["user_agent"])
    assert 2 == sent["metadata"]["copies"]
    assert sent["metadata"]["billing_phone"]["$redacted"]
    with snapshot(private.services.database.engine) as connection:
        report = check_state(
            connection,
            private.services.trail.tables,
            Base.metadata,
            mac_key=private.services.mac_keys,
        )
    assert [] == report.differences


def test_personal_data_is_recorded_by_default(service: RunningService) -> None:
    """Address and agent are in the request, and the name is erasable."""
    caller = service.caller()
    user = {"username": "kim", "full_name": "Kim Park"}
    assert 201 == caller("POST", "/v1/users", json=user, headers=AGENT).status_code
    created = service.bodies()[-1]
    assert "Kim Park" == created["changes"]["full_name"]["new"]
    assert ("127.0.0.1", AGENT["User-Agent"]) == (
        created["request"]["client_address"],
        created["request"]["user_agent"],
    )
