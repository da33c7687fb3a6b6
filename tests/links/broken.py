"""A link that leads nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Broken(NamedTuple):
    """One broken link."""

    page: Path
    link: str
    reason: str
