"""The steps of the schema, run by `auditspan_service.database.schema`."""

from __future__ import annotations
