"""A back office with plain SQLAlchemy: orders, staff, suppliers and bulk corrections."""

from __future__ import annotations

from apps.office.audit import audited
from apps.office.desk import Desk
from apps.office.models import Base

__all__ = ["Base", "Desk", "audited"]
