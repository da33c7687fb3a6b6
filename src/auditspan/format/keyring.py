"""The MAC keys of a trail, past and present."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from auditspan.format.mac import MacKey


class Keyring(Mapping[str, MacKey]):
    """MAC keys by their ids, in the order given: the newest first.

    Args:
        keys: one key, several, another keyring, or None for a keyring without keys.
    """

    def __init__(self, keys: MacKeys = None) -> None:
        several = (keys,) if isinstance(keys, MacKey) else keys or ()
        found = several.values() if isinstance(several, Keyring) else several
        self._by_id = {key.key_id: key for key in found}

    def __getitem__(self, key_id: str) -> MacKey:
        return self._by_id[key_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def newest(self) -> MacKey | None:
        """The key that new rows are signed with; None for a keyring without keys."""
        return next(iter(self._by_id.values()), None)

    def verifies(self, body: str, mac: str | None, key_id: str | None) -> bool:
        """Check that a key of this ring, the one with this id, made this MAC of the body."""
        key = self._by_id.get(key_id or "")
        return key is not None and mac is not None and key.verifies(body, mac)


MacKeys = Keyring | MacKey | Sequence[MacKey] | None
"""What a caller may give for the MAC keys of a trail."""
