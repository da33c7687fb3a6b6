"""The service's database: engines, schema, replica, guards."""

from __future__ import annotations
