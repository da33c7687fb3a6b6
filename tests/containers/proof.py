"""What must hold after whatever was done to the stack."""

from __future__ import annotations

import json

from containers.load import Load
from containers.stack import Stack


def require_nothing_lost(stack: Stack, load: Load, prefix: str, *, verify: bool = True) -> None:
    """Promises, users and rows are the same; all rows are in the files, and the seal holds."""
    assert load.acknowledged != []
    there = users(stack, prefix)
    assert set(load.acknowledged) - there == set()
    assert sorted(there) == sorted(recorded(stack, prefix))
    require_delivered(stack)
    if verify:
        require_sealed(stack)


def require_delivered(stack: Stack) -> None:
    """`reconcile` finds nothing that is missing, unknown or different, once all has arrived."""
    reconciled = stack.settled()
    assert reconciled["ok"] is True, {k: str(v)[:200] for k, v in reconciled.items()}


def require_sealed(stack: Stack) -> None:
    """`verify` finds nothing, and has looked at every row there is."""
    verified = stack.report("worker", "verify")
    assert verified["ok"] is True, verified["findings"][:5]
    assert verified["rows"] == verified["tree_size"] == stack.settled()["rows"] > 0


def users(stack: Stack, prefix: str) -> set[str]:
    """The users of one load, as the database has them."""
    statement = f"SELECT username FROM users WHERE username LIKE '{prefix}-%'"  # noqa: S608 (ours)
    command = ("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", statement)
    return set(stack.execute("postgres", *command, "auditspan").split())


def recorded(stack: Stack, prefix: str) -> list[str]:
    """The users of one load whose creation is in the trail, as often as it is there."""
    command = ("events", "--action", "user.create", "--limit", "1000000", "--json")
    listed = stack.execute("service", "auditspan", *command)
    names = [json.loads(line)["changes"]["username"]["new"] for line in listed.splitlines()]
    return [name for name in names if name.startswith(f"{prefix}-")]
