"""Errors as a browser gets them: pages with a link home; clients of the API get problems."""

from __future__ import annotations

from typing import NoReturn

import pytest
from flask import abort

from support.one_database import ONE_DATABASE
from support.service import RunningService, problem

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
SECRET = "hunter2"  # in an exception's words
ERRORS = [
    ("GET", "/nothing", 404, "This path does not exist."),
    ("GET", "/v1/nothing", 404, "This path does not exist."),
    ("GET", "/problems/nothing", 404, "No problem has this kind."),
    ("DELETE", "/integrity", 405, "This path does not support this method: see Allow."),
    ("GET", "/test/forbidden", 403, "Not for you."),
    ("GET", "/test/broken", 500, "An internal error occurred."),
]


@pytest.fixture
def failing(service: RunningService) -> RunningService:
    """The service with two more routes, which fail."""

    @service.app.get("/test/forbidden")
    def forbidden() -> NoReturn:
        abort(403, "Not for you.")

    @service.app.get("/test/broken")
    def broken() -> NoReturn:
        raise RuntimeError(SECRET)

    return service


@ONE_DATABASE
@pytest.mark.parametrize(("method", "path", "status", "detail"), ERRORS)
def test_browser_gets_a_page_for_an_error(
    failing: RunningService, method: str, path: str, status: int, detail: str
) -> None:
    """It has the status, the detail, the trace id, a link home and the headers of the pages."""
    answer = failing.app.test_client().open(path, method=method, headers={"Accept": FIREFOX})
    assert (status, "text/html; charset=utf-8") == (answer.status_code, answer.content_type)
    trace_id = answer.headers["traceresponse"].split("-")[1]
    for text in (detail, trace_id, '<a href="/">All events</a>', "viewer.css"):
        assert text in answer.text
    assert SECRET not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert ("no-store", "Accept") == (answer.headers["Cache-Control"], answer.headers["Vary"])
    assert (status == 405) is ("Allow" in answer.headers)


@pytest.mark.parametrize("accepted", [None, "*/*", "application/json", "application/problem+json"])
def test_client_of_the_api_gets_a_problem(failing: RunningService, accepted: str | None) -> None:
    """Also for a path outside the API, unless the client prefers HTML."""
    headers = {} if accepted is None else {"Accept": accepted}
    client = failing.app.test_client()
    for method, path, status, detail in ERRORS:
        answer = client.open(path, method=method, headers=headers)
        assert (status, "Accept") == (answer.status_code, answer.headers["Vary"])
        assert problem(answer)["detail"].startswith(detail)


def test_route_of_the_api_answers_problems_to_browsers(service: RunningService) -> None:
    """Its description says nothing of pages."""
    answer = service.app.test_client().get("/v1/users", headers={"Accept": FIREFOX})
    assert "Authentication required" == problem(answer)["title"]
