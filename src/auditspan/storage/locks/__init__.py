"""Exclusive rights of one process: the lease of each relay, and the lock of the sealer."""

from __future__ import annotations

from auditspan.storage.locks.leases import RELAY, Lease, LeaseLostError, holding
from auditspan.storage.locks.sealer_lock import (
    LockHolder,
    LockWatch,
    lock_holder,
    try_sealer_lock,
)
from auditspan.storage.locks.stored_leases import StoredLease, read_leases

__all__ = [
    "RELAY",
    "Lease",
    "LeaseLostError",
    "LockHolder",
    "LockWatch",
    "StoredLease",
    "holding",
    "lock_holder",
    "read_leases",
    "try_sealer_lock",
]
