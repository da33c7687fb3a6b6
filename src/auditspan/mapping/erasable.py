"""Detection of erasable values, for which a trail needs an erasure key."""

from __future__ import annotations

from sqlalchemy import MetaData

from auditspan.mapping.audited_table import audited_table
from auditspan.mapping.catalog import tables_of
from auditspan.mapping.privacy import privacy_of


def has_erasable(metadata: MetaData) -> bool:
    """Return whether a policy, or the privacy of the trail, makes values erasable."""
    found = (audited_table(table) for table in tables_of(metadata))
    return bool(privacy_of(metadata).erasable) or any(one.is_erasable for one in found if one)
