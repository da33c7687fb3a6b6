"""The service's database: engines, schema, replica and guards."""

from __future__ import annotations
