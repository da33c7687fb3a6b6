"""Sealing: assignment of a sequence number and a Merkle leaf to every committed row.

`Undrained` first makes rows of the changes that no transaction has drained.
"""

from __future__ import annotations

from auditspan.seal.dialects import UNSEALED
from auditspan.seal.last_signed import IsGrownFrom, LastSigned, LastSignedFile
from auditspan.seal.sealer import Sealer
from auditspan.seal.undrained import Undrained

__all__ = ["UNSEALED", "IsGrownFrom", "LastSigned", "LastSignedFile", "Sealer", "Undrained"]
