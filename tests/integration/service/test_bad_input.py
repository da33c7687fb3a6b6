"""Whatever is sent: a problem document, never a 500, and nothing changed."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import pytest

from support.one_database import ONE_DATABASE
from support.service import Caller, RunningService, problem

JSON = "application/json"
MATCH = {"If-Match": '"1"'}


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One request that must be refused, and how; `{id}` is an existing user."""

    status: int
    kind: str | None
    method: str = "POST"
    path: str = "/v1/users"
    data: bytes | None = None
    content_type: str | None = JSON
    headers: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()


def malformed(data: bytes, **given: Any) -> Bad:
    """A body that is no strict JSON."""
    return Bad(status=400, kind="malformed-body", data=data, **given)


def invalid(data: bytes, *fields: str, **given: Any) -> Bad:
    """JSON whose members are wrong."""
    return Bad(status=422, kind="invalid-members", data=data, fields=fields, **given)


def query(text: str, path: str = "/v1/users") -> Bad:
    """A query that is refused."""
    return Bad(status=400, kind="malformed-query", method="GET", path=f"{path}?{text}")


def missing(path: str, method: str = "GET", data: bytes | None = None) -> Bad:
    """A thing that is not there."""
    return Bad(
        status=404, kind="not-found", method=method, path=path, data=data, headers={"If-Match": "*"}
    )


def patch(bad: Bad) -> Bad:
    """The same body as a change of an existing user."""
    changed = {"method": "PATCH", "path": "/v1/users/{id}", "headers": bad.headers | MATCH}
    return Bad(**(vars(bad) | changed))


BODIES = {
    "empty": malformed(b""),
    "spaces": malformed(b"  \n "),
    "cut off": malformed(b'{"username": "le'),
    "no JSON": malformed(b"username=lee"),
    "two values": malformed(b'{"username": "lee"} {}'),
    "byte order mark": malformed(b'\xef\xbb\xbf{"username": "lee"}'),
    "Latin-1": malformed('{"username": "Zoë"}'.encode("latin-1")),
    "UTF-16": malformed('{"username": "lee"}'.encode("utf-16")),
    "NaN": malformed(b'{"username": "lee", "active": NaN}'),
    "Infinity": malformed(b'{"username": "lee", "active": -Infinity}'),
    "huge exponent": malformed(b'{"username": "lee", "active": 1e999}'),
    "huge integer": malformed(b'{"username": ' + b"9" * 5000 + b"}"),
    "duplicate name": malformed(b'{"username": "lee", "username": "kim"}'),
    "NUL": malformed(b'{"username": "l\\u0000e"}'),
    "NUL in a name": malformed(b'{"user\\u0000name": "lee"}'),
    "lone surrogate": malformed(b'{"username": "l\\ud800e"}'),
    "deep arrays": malformed(b"[" * 100_000),
    "deep objects": malformed(b'{"a":' * 100_000),
    "deep and closed": malformed(b"[" * 5_000 + b"]" * 5_000),
    "array": invalid(b"[]", ""),
    "string": invalid(b'"lee"', ""),
    "null": invalid(b"null", ""),
    "number": invalid(b"1", ""),
    "unknown field": invalid(b'{"username": "lee", "role": "admin"}', "role"),
    "read-only fields": invalid(b'{"username": "lee", "id": 7, "version": 2}', "id", "version"),
    "username of 51": invalid(b'{"username": "' + b"x" * 51 + b'"}', "username"),
    "username empty": invalid(b'{"username": ""}', "username"),
    "username null": invalid(b'{"username": null}', "username"),
    "username number": invalid(b'{"username": 7}', "username"),
    "username list": invalid(b'{"username": ["lee"]}', "username"),
    "username tab": invalid(b'{"username": "l\\tee"}', "username"),
    "username escape": invalid(b'{"username": "\\u001b[31mlee"}', "username"),
    "username right-to-left override": invalid(b'{"username": "\\u202elee"}', "username"),
    "username zero width": invalid(b'{"username": "l\\u200bee"}', "username"),
    "username no-break space": invalid(b'{"username": "l\\u00a0ee"}', "username"),
    "username leading space": invalid(b'{"username": " lee"}', "username"),
    "username trailing space": invalid(b'{"username": "lee "}', "username"),
    "active text": invalid(b'{"username": "lee", "active": "true"}', "active"),
    "active number": invalid(b'{"username": "lee", "active": 1}', "active"),
    "active null": invalid(b'{"username": "lee", "active": null}', "active"),
    "email without at": invalid(b'{"username": "lee", "email": "lee"}', "email"),
    "email too long": invalid(
        b'{"username": "lee", "email": "' + b"x" * 250 + b'@x.org"}', "email"
    ),
    "email newline": invalid(b'{"username": "lee", "email": "a@b\\nBcc: c@d"}', "email"),
    "full name too long": invalid(
        b'{"username": "lee", "full_name": "' + b"x" * 201 + b'"}', "full_name"
    ),
    "several at once": invalid(
        b'{"username": "", "email": 7, "active": 0}', "username", "email", "active"
    ),
    "too large": Bad(status=413, kind=None, data=b'{"username": "' + b"x" * 1_100_000 + b'"}'),
    "form": Bad(
        status=415,
        kind=None,
        data=b"username=lee",
        content_type="application/x-www-form-urlencoded",
    ),
    "no content type": Bad(status=415, kind=None, data=b'{"username": "lee"}', content_type=None),
    "text": Bad(status=415, kind=None, data=b'{"username": "lee"}', content_type="text/plain"),
    **{
        f"Content-Encoding: {encoding}": Bad(
            status=415,
            kind=None,
            data=b'{"username": "lee"}',
            headers={"Content-Encoding": encoding},
        )
        for encoding in ("gzip", "br", "gzip, identity", "")
    },
    "duplicate username": Bad(status=409, kind="duplicate", data=b'{"username": "tester"}'),
}

CASES = {
    "username missing": invalid(b"{}", "username"),
    **{f"POST {name}": bad for name, bad in BODIES.items()},
    **{f"PATCH {name}": patch(bad) for name, bad in BODIES.items()},
    "PATCH without If-Match": Bad(
        status=428,
        kind="precondition-required",
        method="PATCH",
        path="/v1/users/{id}",
        data=b'{"full_name": "Lee"}',
    ),
    "DELETE without If-Match": Bad(
        status=428, kind="precondition-required", method="DELETE", path="/v1/users/{id}"
    ),
    **{
        f"PATCH with If-Match {tag}": Bad(
            status=412,
            kind="stale",
            method="PATCH",
            path="/v1/users/{id}",
            data=b'{"full_name": "Lee"}',
            headers={"If-Match": tag},
        )
        for tag in ('"2"', '"0"', 'W/"1"', '"1', "", '"01"', "nonsense", ",,,", '"' * 999)
    },
    **{
        f"GET user {user_id}": missing(f"/v1/users/{user_id}")
        for user_id in (
            *("999999", "0", "00", "-1", "+1", "1.0", "1e3", "lee", "null", "%00", "%0a", "%F0%9F"),
            *("9223372036854775807", "9223372036854775808", "9" * 19, "9" * 5000, "٣", "1%20"),
        )
    },
    "PATCH unknown user": missing("/v1/users/999999", "PATCH", b'{"full_name": "Lee"}'),
    "DELETE unknown user": missing("/v1/users/999999", "DELETE"),
    **{
        f"GET event {event_id}": missing(f"/v1/audit-events/{event_id}")
        for event_id in (
            *("00000000-0000-7000-8000-000000000000", "1", "lee", "%00", "x" * 5000),
            "{00000000-0000-7000-8000-000000000000}",
            "00000000000070008000000000000000",
        )
    },
    **{
        text: query(text)
        for text in (
            *("limit=0", "limit=201", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=%C2%B2"),
            *(
                "limit=1&limit=2",
                "page=2",
                "cursor=",
                "cursor=x",
                "cursor=%00",
                "cursor=" + "x" * 600,
            ),
            "cursor=ZXZlbnRzOjQ",  # of the other list
            "cursor=dXNlcnM6OTk5OTk5OTk5OTk5OTk5OTk5OQ",  # users:9999999999999999999
            "cursor=dXNlcnM6LTE",  # users:-1
        )
    },
    **{
        f"events {text}": query(text, "/v1/audit-events")
        for text in (
            *("trace_id=abc", "trace_id=" + "g" * 32, "user=1", "seq=1", "actor=", "actor=%00"),
            *("not_actor=a&actor!=a", "not_actor=a&not_actor=b", "not_seq=1"),
            *("action=a&action=b", "target_type=a%0Ab", "limit=x", "cursor=dXNlcnM6MQ"),
        )
    },
    "unknown path": Bad(status=404, kind=None, method="GET", path="/v1/nothing"),
    "unknown path outside": Bad(status=404, kind=None, method="GET", path="/nothing"),
    "two slashes": Bad(status=404, kind=None, method="GET", path="/v1//users"),
    "trailing slash": Bad(status=404, kind=None, method="GET", path="/v1/users/"),
    "unknown problem": missing("/problems/nothing"),
    **{
        f"{method} {path}": Bad(status=405, kind=None, method=method, path=path)
        for method, path in (
            ("PUT", "/v1/users"),
            ("DELETE", "/v1/users"),
            ("POST", "/v1/users/1"),
            ("PUT", "/v1/audit-events"),
            ("DELETE", "/v1/audit-events/1"),
            ("POST", "/healthz"),
            ("FROB", "/v1/users"),
        )
    },
}


def send(kim: Caller, bad: Bad, user_id: int) -> Any:
    """The response to this request."""
    return kim(
        bad.method,
        bad.path.replace("{id}", str(user_id)),
        data=bad.data,
        content_type=bad.content_type if bad.data is not None else None,
        headers=bad.headers,
    )


def complaint(name: str, bad: Bad, response: Any) -> str | None:
    """What is wrong with the answer, or None."""
    try:
        document = problem(response)
        assert document["status"] == bad.status
        assert document["type"] == (f"/problems/{bad.kind}" if bad.kind else "about:blank")
        assert {error["field"] for error in document.get("errors", [])} == set(bad.fields)
    except AssertionError as error:
        return f"{name}: {response.status} {response.text[:300]} {error}"
    return None


@ONE_DATABASE
def test_every_bad_request(service: RunningService) -> None:
    """Each bad request gets its problem document, and the tables are what they were."""
    kim = service.caller()
    user_id = kim.create(username="lee")["id"]
    before = service.tables()

    complaints = []
    for name, bad in CASES.items():
        complaints.append(complaint(name, bad, send(kim, bad, user_id)))
        if service.tables() != before:
            pytest.fail(f"{name} changed something")
    assert [text for text in complaints if text] == []


def test_answer_repeats_nothing_of_the_body(service: RunningService) -> None:
    """What was sent is not in the answer: it may be a secret in the wrong place."""
    kim = service.caller()
    for body in (
        b'{"username": "lee", "email": "hunter2"}',
        b'{"username": ["hunter2"]}',
        b'{"username": "hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2"}',
        b'{"username": "hunter2\\ud800"}',
        b'{"username": hunter2}',
    ):
        response = kim("POST", "/v1/users", data=body, content_type=JSON)
        assert "hunter2" not in str(problem(response))


def test_post_ignores_what_it_must(service: RunningService) -> None:
    """A Content-Type in capitals with a charset is JSON all the same."""
    response = service.caller()(
        "POST",
        "/v1/users",
        data='{"username": "Zoë"}'.encode(),
        content_type="Application/JSON; charset=UTF-8",
    )
    assert (response.status_code, response.get_json()["username"]) == (201, "Zoë")


def test_a_body_of_unknown_length_is_limited(service: RunningService) -> None:
    """A chunked body is cut off at the limit as well."""
    body = io.BytesIO(b'{"username": "' + b"x" * 1_100_000 + b'"}')
    response = service.caller()(
        "POST",
        "/v1/users",
        input_stream=body,
        content_type=JSON,
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert problem(response)["status"] == 413, response.text


HUGE = {
    "many unknown members": {f"member{number}": 1 for number in range(40_000)},
    "a long unknown member": {"x" * 600_000: 1},
    "many long unknown members": {f"{number}{'x' * 5_000}": 1 for number in range(120)},
    "many unprintable members": {f"\x01\x02{number}": 1 for number in range(20_000)},
}


@ONE_DATABASE
@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("members", HUGE.values(), ids=HUGE)
def test_answer_to_a_huge_body_is_small(
    service: RunningService, method: str, members: dict[str, int]
) -> None:
    """Some errors are listed with the beginning of each name, and the rest are counted."""
    kim = service.caller()
    path = "/v1/users" if method == "POST" else f"/v1/users/{kim.user_id}"
    refused = kim(method, path, json=members, headers=MATCH)
    errors = problem(refused)["errors"]
    assert 422 == refused.status_code
    assert len(refused.data) < 8_000
    assert len(errors) == min(len(members) + (method == "POST"), 20) + (len(members) > 1)


def test_errors_beyond_the_limit_are_counted(service: RunningService) -> None:
    """The last entry says how many errors are not listed."""
    members = {f"member{number}": 1 for number in range(100)}
    *_, last = problem(service.caller()("POST", "/v1/users", json=members))["errors"]
    assert {"field": "", "message": "81 more errors are not listed"} == last


def test_unknown_parameter_of_a_route_without_any(service: RunningService) -> None:
    """The answer says that the route takes none, and lists no names."""
    refused = problem(service.caller()("GET", "/v1/roles?at=now"))
    assert "Unknown parameter 'at': this route takes none." == refused["detail"]
