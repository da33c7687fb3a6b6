"""Read-only checks of the seal, the witness, the collector's files and the live tables."""

from __future__ import annotations

from auditspan.verify.coverage import Decision, coverage, metadata_of
from auditspan.verify.reconcile import ReconcileReport, reconcile, reconcile_records
from auditspan.verify.resend import Resent, accepted_since, resend
from auditspan.verify.state import Difference, StateReport, check_state
from auditspan.verify.trail import VerifyReport, verify_trail
from auditspan.verify.witness import Witness, read_witness

__all__ = [
    "Decision",
    "Difference",
    "ReconcileReport",
    "Resent",
    "StateReport",
    "VerifyReport",
    "Witness",
    "accepted_since",
    "check_state",
    "coverage",
    "metadata_of",
    "read_witness",
    "reconcile",
    "reconcile_records",
    "resend",
    "verify_trail",
]
