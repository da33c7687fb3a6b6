"""Choice of the reader of unsealed rows."""

from __future__ import annotations

from auditspan.seal import postgresql, sqlite
from auditspan.seal.unsealed import UnsealedRows
from auditspan.storage.dialects import PerDialect

UNSEALED = PerDialect[UnsealedRows](postgresql=postgresql, sqlite=sqlite)
