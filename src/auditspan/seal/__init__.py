"""Sealing: assignment of a sequence number and a Merkle leaf to every committed row."""

from __future__ import annotations

from auditspan.seal.last_signed import IsGrownFrom, LastSigned, LastSignedFile
from auditspan.seal.sealer import Sealer
from auditspan.seal.unsealed import last_position

__all__ = ["IsGrownFrom", "LastSigned", "LastSignedFile", "Sealer", "last_position"]
