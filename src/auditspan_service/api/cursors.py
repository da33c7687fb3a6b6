"""Cursors of lists, signed and bound to the list and its filters.

Otherwise a client could forge a cursor for any position, or use a cursor with other filters and get
a page that belongs to neither list.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

from auditspan import MacKey
from auditspan.format import canonical_json
from auditspan_service.api.current import services

_CURSOR = re.compile(r"([1-9][0-9]{0,18}):([0-9a-f]{32})")
_SIGNATURE_LENGTH = 32


def cursor_of(kind: str, filters: Mapping[str, str], row_id: int) -> str:
    """Return the cursor for the position after this row of a list."""
    signature = _signature(services().mac_keys[0], kind, filters, row_id)
    return _encoded(f"{row_id}:{signature}")


def position_of(cursor: str, kind: str, filters: Mapping[str, str]) -> int | None:
    """Return the row before a cursor's position, or None if list or filters do not match."""
    match = _CURSOR.fullmatch(_decoded(cursor))
    if match is None:
        return None
    row_id = int(match[1])
    signatures = (_signature(key, kind, filters, row_id) for key in services().mac_keys)
    return row_id if any(hmac.compare_digest(match[2], one) for one in signatures) else None


def _signature(key: MacKey, kind: str, filters: Mapping[str, str], row_id: int) -> str:
    text = canonical_json([kind, dict(filters), str(row_id)])
    message = b"auditspan-cursor\0" + text.encode()
    return hmac.new(key.secret, message, hashlib.sha256).hexdigest()[:_SIGNATURE_LENGTH]


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    """Return the text of a cursor; empty unless it is spelled exactly as it was issued."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return ""
    return text if _encoded(text) == cursor else ""
