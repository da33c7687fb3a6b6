"""Headers and bodies of strangers: what both HTTP servers believe, refuse and execute."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.service.test_commands import Place
from integration.service.test_refused_requests import exchange, serving
from support.running import Up

JSON = "Content-Type: application/json\r\n"
LEE = '{"username":"lee"}'
Send = Callable[[str], bytes]


def prepared(folder: Path) -> tuple[Place, str]:
    """A SQLite database with an administrator, whose key is returned."""
    place = Place(folder / "data", f"sqlite:///{folder / 'auditspan.db'}")
    place.objects("db", "upgrade")
    place.objects("keys", "init")
    (made,) = place.objects("keys", "create", "--username", "kim", "--scope", "admin")
    return place, made["key"]


@pytest.fixture(scope="module", params=["serve", "up"])
def send(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Send]:
    """Sends raw requests of an administrator; `{key}` in the text is their authorization."""
    folder = tmp_path_factory.mktemp("servers")
    if request.param == "up":
        with Up(folder / "data", environ={"AUDITSPAN_SINK": "file"}) as up:
            yield sender(up.client.base_url.port or 0, up.key)
        return
    place, key = prepared(folder)
    with serving(place) as port:
        yield sender(port, key)


def sender(port: int, key: str) -> Send:
    """A function that sends a request and returns the whole answer."""
    return lambda text: exchange(port, text.replace("{key}", f"Authorization: Bearer {key}\r\n"))


def status(answer: bytes) -> int:
    """The status code of an answer."""
    found = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    assert found, answer[:200]
    return int(found[1])


def usernames(send: Send) -> list[str]:
    """The users that there are now."""
    answer = send("GET /v1/users?limit=200 HTTP/1.0\r\nHost: x\r\n{key}\r\n")
    return [user["username"] for user in json.loads(answer.partition(b"\r\n\r\n")[2])["items"]]


def added(send: Send) -> str:
    """The path of a new user."""
    body = json.dumps({"username": secrets.token_hex(8)})
    answer = send(
        f"POST /v1/users HTTP/1.1\r\nHost: x\r\n{{key}}{JSON}Connection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    location = re.search(rb"\r\nLocation: (\S+)\r\n", answer)
    assert location, answer
    return location[1].decode()


@pytest.mark.parametrize("path", ["/healthz", "/v1/users", "/nowhere"])
@pytest.mark.parametrize(
    "hosts",
    ["", "Host:\r\n", "Host: a\r\nHost: b\r\n", "Host: a/b\r\n", "Host: a b\r\n", "Host: u@a\r\n"],
    ids=["none", "empty", "two", "path", "space", "user"],
)
def test_http_1_1_request_needs_one_valid_host(send: Send, path: str, hosts: str) -> None:
    """RFC 9112, section 3.2: anything else is answered with 400."""
    assert 400 == status(send(f"GET {path} HTTP/1.1\r\n{hosts}{{key}}Connection: close\r\n\r\n"))


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.0\r\n",
        "HTTP/1.1\r\nHost: example.org:8000\r\n",
        "HTTP/1.1\r\nHost: [::1]:8000\r\n",
        "HTTP/1.1\r\nHost: 10.0.0.1\r\n",
        "HTTP/1.1\r\nHost: auditspan_api.internal.\r\n",
    ],
)
def test_usual_host_is_served(send: Send, head: str) -> None:
    """Names and addresses with and without a port; HTTP/1.0 needs none."""
    assert 200 == status(send(f"GET /v1/users {head}{{key}}Connection: close\r\n\r\n"))


TRUNCATED = {
    "POST": f"POST /v1/users HTTP/1.1\r\nHost: x\r\n{{key}}{JSON}Content-Length: 90\r\n\r\n{LEE}",
    "POST chunked": f"POST /v1/users HTTP/1.1\r\nHost: x\r\n{{key}}{JSON}"
    f"Transfer-Encoding: chunked\r\n\r\n{len(LEE):x}\r\n{LEE}\r\n",
    "PATCH": f"PATCH {{path}} HTTP/1.1\r\nHost: x\r\n{{key}}If-Match: *\r\n{JSON}"
    f"Content-Length: 90\r\n\r\n{LEE}",
    "DELETE": "DELETE {path} HTTP/1.1\r\nHost: x\r\n{key}If-Match: *\r\n"
    "Content-Length: 90\r\n\r\nhalf",
    "DELETE without a byte": "DELETE {path} HTTP/1.1\r\nHost: x\r\n{key}If-Match: *\r\n"
    "Content-Length: 9\r\n\r\n",
    "DELETE chunked": "DELETE {path} HTTP/1.1\r\nHost: x\r\n{key}If-Match: *\r\n"
    "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
}


@pytest.mark.parametrize("request_text", TRUNCATED.values(), ids=TRUNCATED)
def test_request_whose_body_ends_early_is_not_executed(send: Send, request_text: str) -> None:
    """A body shorter than it was announced is refused, also where no body is read."""
    path = added(send)
    before = usernames(send)
    assert 400 == status(send(request_text.replace("{path}", path)))
    assert before == usernames(send)


def test_delete_with_a_whole_body_is_executed(send: Send) -> None:
    """A body that nobody needs is no mistake."""
    path = added(send)
    before = usernames(send)
    answer = send(
        f"DELETE {path} HTTP/1.1\r\nHost: x\r\n{{key}}If-Match: *\r\nConnection: close\r\n"
        "Content-Length: 4\r\n\r\nmore"
    )
    assert (204, before[:-1]) == (status(answer), usernames(send))


def test_gunicorn_believes_no_forwarded_header(tmp_path: Path) -> None:
    """From loopback, with no trusted proxies, SCRIPT_NAME and X-Forwarded-Proto change nothing."""
    place, key = prepared(tmp_path)
    with serving(place, FORWARDED_ALLOW_IPS="*") as port:
        answer = sender(port, key)(
            f"POST /v1/users HTTP/1.1\r\nHost: x\r\n{{key}}{JSON}SCRIPT_NAME: /evil\r\n"
            "PATH_INFO: /healthz\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: on\r\n"
            f"Connection: close\r\nContent-Length: {len(LEE)}\r\n\r\n{LEE}"
        )
    assert 201 == status(answer)
    assert b"\r\nLocation: /v1/users/2\r\n" in answer
    traces = (place.folder / "collector" / "telemetry" / "traces.jsonl").read_text()
    assert ["http"] == re.findall(r'"url\.scheme","value":\{"stringValue":"(\w+)"', traces)
