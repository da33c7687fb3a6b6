"""Files of the MAC keys and the signing keys."""

from __future__ import annotations

from auditspan.keys.key_files import (
    last_signed_file,
    load_mac_keys,
    load_or_create_mac_key,
    load_or_create_signing_keys,
    load_retired_keys,
    rotate_mac_key,
    rotate_signing_key,
    stored_mac_key,
)

__all__ = [
    "last_signed_file",
    "load_mac_keys",
    "load_or_create_mac_key",
    "load_or_create_signing_keys",
    "load_retired_keys",
    "rotate_mac_key",
    "rotate_signing_key",
    "stored_mac_key",
]
