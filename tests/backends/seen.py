"""One change, and how to know its trace when a backend has all of it."""

from __future__ import annotations

from dataclasses import dataclass

from backends.running import Watched


@dataclass(frozen=True, kw_only=True)
class Change:
    """What the service says of one change."""

    trace_id: str
    event_id: str


def made_by(watched: Watched, username: str) -> Change:
    """Create a user, and look up its event through the API."""
    client = watched.up.client
    answer = client.post("/v1/users", json={"username": username})
    assert answer.status_code == 201
    return _change(watched, answer.headers["traceresponse"])


def _change(watched: Watched, traceresponse: str) -> Change:
    trace_id = traceresponse.split("-")[1]
    client = watched.up.client
    found = client.get("/v1/audit-events", params={"trace_id": trace_id}).json()
    [event] = found["items"]
    return Change(trace_id=trace_id, event_id=event["event_id"])


def renamed(watched: Watched, username: str, full_name: str) -> Change:
    """Change the name of a user."""
    client = watched.up.client
    [user] = [one for one in client.get("/v1/users").json()["items"] if one["username"] == username]
    path = f"/v1/users/{user['id']}"
    current = client.get(path).headers["ETag"]
    answer = client.patch(path, json={"full_name": full_name}, headers={"If-Match": current})
    assert answer.status_code == 200
    return _change(watched, answer.headers["traceresponse"])


def is_whole(names: set[str]) -> bool:
    """The request, its INSERTs and its COMMIT."""
    # Zipkin shows names in lower case.
    lower = {name.lower() for name in names}
    return {"post /v1/users", "commit"} <= lower and any(n.startswith("insert ") for n in lower)
