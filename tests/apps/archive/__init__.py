"""An archive whose schema has thirty revisions behind it, most of them with SQL."""

from __future__ import annotations

from apps.archive.audit import audited
from apps.archive.models import Base
from apps.archive.schema import current, downgrade, upgrade

__all__ = ["Base", "audited", "current", "downgrade", "upgrade"]
