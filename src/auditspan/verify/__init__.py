"""Read-only checks of the seal, the witness, the collector's files and the live tables."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditspan.verify.decisions import Decision, coverage, metadata_of
    from auditspan.verify.reconciliation import ReconcileReport, reconcile, reconcile_records
    from auditspan.verify.resending import Resent, accepted_since, resend
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

_PLACES = {
    "Decision": "decisions",
    "Difference": "state",
    "ReconcileReport": "reconciliation",
    "Resent": "resending",
    "StateReport": "state",
    "VerifyReport": "trail",
    "Witness": "witness",
    "accepted_since": "resending",
    "check_state": "state",
    "coverage": "decisions",
    "metadata_of": "decisions",
    "read_witness": "witness",
    "reconcile": "reconciliation",
    "reconcile_records": "reconciliation",
    "resend": "resending",
    "verify_trail": "trail",
}
"""Modules of the names, which are imported on first use: a process for ranges starts faster."""

if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name (PEP 562)."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = resolve_name(f"{__name__}.{_PLACES[name]}:{name}")
        return found
