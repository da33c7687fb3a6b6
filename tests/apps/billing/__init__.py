"""Billing: an application with plain SQLAlchemy, a nightly job and no web framework."""

from __future__ import annotations
