"""The description of the API, its committed copy, and the tables of docs/reference/api.md.

    python tests/support/openapi.py

writes the copy and the tables anew.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from flask import Flask

from auditspan_service.accounts.scopes import ROLES, SCOPES, permits
from auditspan_service.api.auth import API_PREFIX, required_scope
from auditspan_service.api.openapi import describe
from support.service import running_service, settings_at

PAGE = Path(__file__).parents[2] / "docs/reference/api.md"
COPY = Path(__file__).parents[2] / "docs/reference/openapi.json"


def description() -> dict[str, Any]:
    """The description that the service of this checkout gives."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_at(Path(folder), f"sqlite:///{folder}/auditspan.db")
        with running_service(settings) as service:
            return describe(service.app)


def scope_matrix(app: Flask) -> list[str]:
    """The table of docs/reference/api.md: which scope permits which operation."""
    return [
        _row([f"`{operation}`", *("yes" if permits({one}, scope) else "" for one in SCOPES)])
        for operation, scope in _operations(app)
    ]


def role_matrix(app: Flask) -> list[str]:
    """The table of docs/reference/api.md: which role permits which operation."""
    return [
        _row(
            [
                *(f"`{operation}`", f"`{scope}`"),
                *("yes" if permits(held, scope) else "" for held in ROLES.values()),
            ]
        )
        for operation, scope in _operations(app)
    ]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _operations(app: Flask) -> list[tuple[str, str]]:
    """Method and path of every operation, with its scope."""
    found = []
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(API_PREFIX):
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            scope = required_scope(app, rule.endpoint) or ""
            found += [(f"{method} {path}", scope) for method in methods]
    return sorted(found)


def with_tables(page: str, app: Flask) -> str:
    """The page with its tables written anew."""
    tables = {
        f"| Operation | {' | '.join(SCOPES)} |": scope_matrix(app),
        f"| Operation | scope | {' | '.join(ROLES)} |": role_matrix(app),
    }
    for head, rows in tables.items():
        start = head.split(" | ")[1].partition(":")[0]
        table = "\n".join([head, f"|{' --- |' * (head.count('|') - 1)}", *rows])
        page = re.sub(
            rf"^\| Operation \| {start}[^|]*\|.*(\n\|.*)*", table, page, flags=re.MULTILINE
        )
    return page


if __name__ == "__main__":
    text = json.dumps(description(), indent=1, ensure_ascii=False)
    COPY.write_text(f"{text}\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_at(Path(folder), f"sqlite:///{folder}/auditspan.db")
        with running_service(settings) as service:
            page = with_tables(PAGE.read_text(encoding="utf-8"), service.app)
    PAGE.write_text(page, encoding="utf-8")
