"""Files of the MAC keys, the erasure keys and the signing keys."""

from __future__ import annotations

from auditspan.storage.keys.erasure_keys import (
    erasure_keys_at,
    load_or_create_erasure_keys,
    rotate_erasure_key,
    stored_erasure_keys,
)
from auditspan.storage.keys.key_files import (
    last_signed_file,
    load_mac_keys,
    load_or_create_mac_key,
    load_or_create_signing_keys,
    load_retired_keys,
    rotate_mac_key,
    rotate_signing_key,
    stored_mac_key,
)
from auditspan.storage.keys.key_lines import stored_path

__all__ = [
    "erasure_keys_at",
    "last_signed_file",
    "load_mac_keys",
    "load_or_create_erasure_keys",
    "load_or_create_mac_key",
    "load_or_create_signing_keys",
    "load_retired_keys",
    "rotate_erasure_key",
    "rotate_mac_key",
    "rotate_signing_key",
    "stored_erasure_keys",
    "stored_mac_key",
    "stored_path",
]
