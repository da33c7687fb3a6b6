"""The steps of the schema, run by `auditspan_service.migrate`."""

from __future__ import annotations
