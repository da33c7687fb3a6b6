"""The story that the tour tells: requests, and what each of them must leave behind."""

from __future__ import annotations

from dataclasses import dataclass

FAILING_ROUTE = "/tour/fails-after-flush"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request of the story and what it must leave behind."""

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
        title="change it",
        method="PATCH",
        path="{user}",
        body={"full_name": "Kim Park"},
        if_match="current",
        status=200,
        actions=("user.update",),
    ),
    Step(
        title="change it from a stale copy",
        method="PATCH",
        path="{user}",
        body={"full_name": "Kim Stale"},
        if_match="first",
        status=412,
    ),
    Step(
        title="take a name that is taken",
        method="POST",
        path="/v1/users",
        body={"username": "{name}"},
        status=409,
    ),
    Step(
        title="come without a key",
        method="POST",
        path="/v1/users",
        body={"username": "eve"},
        with_key=False,
        status=401,
    ),
    Step(title="fail after the flush", method="POST", path=FAILING_ROUTE, status=500),
    Step(
        title="delete it",
        method="DELETE",
        path="{user}",
        if_match="current",
        status=204,
        actions=("user.delete",),
    ),
)
