"""Migrations of the service's schema, run by `auditspan_service.database.schema`."""

from __future__ import annotations
