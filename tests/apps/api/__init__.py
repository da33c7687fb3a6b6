"""An API for documents, with Flask, tokens and plain SQLAlchemy."""

from __future__ import annotations

from apps.api.app import create_app
from apps.api.audit import audited
from apps.api.models import Base

__all__ = ["Base", "audited", "create_app"]
