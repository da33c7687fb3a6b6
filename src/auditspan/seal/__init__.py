"""Sealing: assignment of a sequence number and a Merkle leaf to every committed row."""

from __future__ import annotations

from auditspan.seal.dialects import UNSEALED
from auditspan.seal.last_signed import IsGrownFrom, LastSigned, LastSignedFile
from auditspan.seal.sealer import Sealer

__all__ = ["UNSEALED", "IsGrownFrom", "LastSigned", "LastSignedFile", "Sealer"]
