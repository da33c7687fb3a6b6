"""Accounts: an application with Flask-SQLAlchemy and Flask-Migrate."""

from __future__ import annotations

from apps.accounts.app import create_app
from apps.accounts.models import db, trail

__all__ = ["create_app", "db", "trail"]
