"""The seal: every committed row gets its place in one sequence and its Merkle leaf."""

from __future__ import annotations

from auditspan.seal.last_signed import IsGrownFrom, LastSigned, LastSignedFile
from auditspan.seal.sealer import Sealer
from auditspan.seal.unsealed import last_position

__all__ = ["IsGrownFrom", "LastSigned", "LastSignedFile", "Sealer", "last_position"]
