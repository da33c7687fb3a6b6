"""The requests of the tour, and the records that each one must produce."""

from __future__ import annotations

from dataclasses import dataclass

FAILING_ROUTE = "/tour/fails-after-flush"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request of the tour, with the expected response and records."""

    title: str
    method: str
    path: str
    status: int
    actions: tuple[str, ...] = ()
    body: dict[str, str] | None = None
    if_match: str | None = None
    with_key: bool = True


STORY = (
    Step(
        title="create a user",
        method="POST",
        path="/v1/users",
        body={"username": "{name}", "full_name": "Kim", "email": "kim@example.com"},
        status=201,
        actions=("user.create",),
    ),
    Step(
        title="update the user",
        method="PATCH",
        path="{user}",
        body={"full_name": "Kim Park"},
        if_match="current",
        status=200,
        actions=("user.update",),
    ),
    Step(
        title="update with a stale ETag",
        method="PATCH",
        path="{user}",
        body={"full_name": "Kim Stale"},
        if_match="first",
        status=412,
    ),
    Step(
        title="create a duplicate username",
        method="POST",
        path="/v1/users",
        body={"username": "{name}"},
        status=409,
    ),
    Step(
        title="call without an API key",
        method="POST",
        path="/v1/users",
        body={"username": "eve"},
        with_key=False,
        status=401,
    ),
    Step(title="fail after the flush", method="POST", path=FAILING_ROUTE, status=500),
    Step(
        title="delete the user",
        method="DELETE",
        path="{user}",
        if_match="current",
        status=204,
        actions=("user.delete",),
    ),
)
