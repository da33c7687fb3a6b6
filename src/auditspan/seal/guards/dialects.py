"""Choice of the guards of a database."""

from __future__ import annotations

from auditspan.seal.guards import postgresql, sqlite
from auditspan.seal.guards.finding import DialectGuards
from auditspan.storage.dialects import PerDialect

GUARDS = PerDialect[DialectGuards](postgresql=postgresql, sqlite=sqlite)
