"""The description of the API, and its committed copy.

    python tests/support/openapi.py

writes the copy anew.
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

from auditspan_service.api.auth import API_PREFIX, required_scope
from auditspan_service.api.openapi import describe
from auditspan_service.api_keys import ADMIN, SCOPES
from support.service import running_service, settings_at

COPY = Path(__file__).parents[2] / "docs/reference/openapi.json"


def description() -> dict[str, Any]:
    """The description that the service of this checkout gives."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_at(Path(folder), f"sqlite:///{folder}/auditspan.db")
        with running_service(settings) as service:
            return describe(service.app)


def scope_matrix(app: Flask) -> list[str]:
    """The table of docs/reference/api.md: which scope permits which operation."""
    lines = []
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if rule.rule.startswith(API_PREFIX):
            scope = required_scope(app, rule.endpoint)
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            cells = ["yes" if one in {scope, ADMIN} else "" for one in SCOPES]
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            lines += [f"| `{method} {path}` | {' | '.join(cells)} |" for method in methods]
    return sorted(lines)


if __name__ == "__main__":
    text = json.dumps(description(), indent=1, ensure_ascii=False)
    COPY.write_text(f"{text}\n", encoding="utf-8")
