"""Erasure keys of a trail, newest first, where its readers and writers find them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from sqlalchemy import MetaData

from auditspan.format import ErasureKey

Keys: TypeAlias = Sequence[ErasureKey]
KeySource: TypeAlias = Keys | Callable[[], Keys]
"""Keys, or a function that reads them when they are needed."""

_KEY = "auditspan.erasure_keys"
"""The key in the `info` of a metadata, as for its privacy; `info` is neither copied nor pickled."""


def add_erasure_keys(metadata: MetaData, source: KeySource) -> KeySource:
    """Add the keys of a trail over this metadata, before those that are known; return them."""
    known = metadata.info.get(_KEY, ())
    metadata.info[_KEY] = [source, *(one for one in known if one is not source)]
    return source


def erasure_keys_of(metadata: MetaData) -> Keys:
    """Return the keys of all trails over this metadata; without any, no erasable value is read.

    Raises:
        KeyFileError: a key file cannot be read.
    """
    found: dict[str, ErasureKey] = {}
    sources: Sequence[KeySource] = metadata.info.get(_KEY, ())
    for source in sources:
        found = found | {key.key_id: key for key in keys_of(source) if key.key_id not in found}
    return tuple(found.values())


def keys_of(source: KeySource) -> Keys:
    """Return the keys of a source."""
    return source() if callable(source) else source
