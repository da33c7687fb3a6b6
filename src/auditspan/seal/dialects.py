"""Choice of the reader of unsealed rows."""

from __future__ import annotations

from auditspan.dialects import PerDialect
from auditspan.seal import postgresql, sqlite
from auditspan.seal.unsealed import UnsealedRows

UNSEALED = PerDialect[UnsealedRows](postgresql=postgresql, sqlite=sqlite)
