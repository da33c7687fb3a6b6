"""Nobody both writes and purges, by whatever way scopes are given; and what a purger may see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from auditspan_service.accounts.principals import Principal
from auditspan_service.accounts.scopes import NOT_WITH_PURGE, separated
from auditspan_service.errors import InvalidInputError
from integration.service.test_accounts import holder
from support.one_database import ONE_DATABASE
from support.service import Caller, RunningService

PLAN = "/v1/retention?before=2020-01-01"


def purger(service: RunningService) -> Caller:
    """Somebody who may purge, and nothing else."""
    return service.caller("audit:purge", username="purger")


@ONE_DATABASE
@pytest.mark.parametrize("scope", sorted(NOT_WITH_PURGE))
def test_key_that_writes_and_purges_is_refused(service: RunningService, scope: str) -> None:
    """In one key, and in two keys of one user."""
    with pytest.raises(InvalidInputError, match="separation of duties"):
        service.issue("audit:purge", scope)
    service.issue(scope)
    with pytest.raises(InvalidInputError, match="separation of duties"):
        service.issue("audit:purge")


def test_role_that_writes_and_purges_is_refused(service: RunningService) -> None:
    """In one role, in two roles of one user, and in a role that is changed later."""
    admin = service.caller(username="root")
    both = {"scopes": ["audit:purge", "audit:write"]}
    assert 422 == admin("PUT", "/v1/roles/both", json=both).status_code
    user = admin.create(username="lee")
    roles = f"/v1/users/{user['id']}/roles"
    assert 204 == admin("PUT", f"{roles}/purger").status_code
    refused = admin("PUT", f"{roles}/writer")
    assert (422, "role") == (refused.status_code, refused.get_json()["errors"][0]["field"])
    assert 200 == admin("PUT", "/v1/roles/clerk", json={"scopes": ["audit:read"]}).status_code
    assert 204 == admin("PUT", f"{roles}/clerk").status_code
    assert 422 == admin("PUT", "/v1/roles/clerk", json={"scopes": ["audit:write"]}).status_code


def test_admin_cannot_purge(service: RunningService) -> None:
    """Its keys permit everything else; it gives the scope to somebody who does not write."""
    admin = service.caller(username="root")
    assert 403 == admin("GET", PLAN).status_code
    lee = holder(admin, "purger", scopes=["audit:purge"])
    assert 200 == lee("GET", PLAN).status_code
    assert 403 == lee("GET", "/v1/audit-events").status_code


def test_token_with_both_scopes_only_writes() -> None:
    """An identity provider that gives both gives no purge."""
    assert {"audit:write"} == separated({"audit:write", "audit:purge"})
    both = Principal(actor_id="1", label="lee", scopes=separated({"admin", "audit:purge"}))
    assert not both.allows("audit:purge")


def test_plan_gives_the_reason_why_rows_stay(service: RunningService) -> None:
    """Nothing is delivered in this service, so nothing can be removed."""
    service.caller(username="root").create(username="lee")
    caller = purger(service)
    found = caller("GET", "/v1/retention", query_string={"before": _past()}).get_json()
    assert (0, 0, False) == (found["size"], found["rows"], found["is_authorised"])
    for wrong in ("", "?before=x", "?before=2999-01-01"):
        assert 400 == caller("GET", f"/v1/retention{wrong}").status_code


def _past() -> str:
    return (datetime.now(UTC) - timedelta(days=1)).isoformat()
