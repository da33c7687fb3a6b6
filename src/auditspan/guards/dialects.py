"""Choice of the guards of a database."""

from __future__ import annotations

from auditspan.dialects import PerDialect
from auditspan.guards import postgresql, sqlite
from auditspan.guards.finding import DialectGuards

GUARDS = PerDialect[DialectGuards](postgresql=postgresql, sqlite=sqlite)
