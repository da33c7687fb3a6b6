"""Erasure keys of a trail, newest first, where its readers and writers find them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import MetaData

from auditspan.format import ErasureKey

Keys = Sequence[ErasureKey]

_KEY = "auditspan.erasure_keys"
"""The key in the `info` of a metadata, as for its privacy; `info` is neither copied nor pickled."""


def set_erasure_keys(metadata: MetaData, keys: Keys | Callable[[], Keys]) -> None:
    """Set the keys of the trail over this metadata, or a function that is called when needed."""
    metadata.info[_KEY] = keys


def erasure_keys_of(metadata: MetaData) -> Keys:
    """Return the keys of the trail over this metadata; without any, no erasable value is read.

    Raises:
        KeyFileError: a key file cannot be read.
    """
    found: Keys | Callable[[], Keys] = metadata.info.get(_KEY, ())
    if callable(found):
        found = metadata.info[_KEY] = found()
    return found
