"""The description of the API, and its committed copy.

    python tests/support/openapi.py

writes the copy anew.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from auditspan_service.api.openapi import describe
from support.service import running_service, settings_at

COPY = Path(__file__).parents[2] / "docs/reference/openapi.json"


def description() -> dict[str, Any]:
    """The description that the service of this checkout gives."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_at(Path(folder), f"sqlite:///{folder}/auditspan.db")
        with running_service(settings) as service:
            return describe(service.app)


if __name__ == "__main__":
    text = json.dumps(description(), indent=1, ensure_ascii=False)
    COPY.write_text(f"{text}\n", encoding="utf-8")
