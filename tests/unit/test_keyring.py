"""A keyring holds the MAC keys of a trail, the newest first."""

from __future__ import annotations

import pytest

from auditspan.format import Keyring, MacKey, MacKeys

NEW, OLD = (MacKey.from_secret(bytes([n]) * 32) for n in (1, 2))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, []),
        ((), []),
        (NEW, [NEW]),
        ([NEW, OLD], [NEW, OLD]),
        ([NEW, NEW], [NEW]),
        (Keyring((NEW, OLD)), [NEW, OLD]),
    ],
)
def test_a_keyring_is_made_of_whatever_a_caller_gives(
    given: MacKeys, expected: list[MacKey]
) -> None:
    """Each key once, in the order given, and the first is the newest."""
    ring = Keyring(given)
    assert (list(ring.values()), ring.newest) == (expected, next(iter(expected), None))
    assert all(ring[key.key_id] is key for key in expected)


def test_only_the_key_that_a_row_names_verifies_its_mac() -> None:
    """Another key of the ring, an unknown id, no id and no MAC are refused."""
    ring, mac = Keyring((NEW, OLD)), OLD.sign("body")
    assert ring.verifies("body", mac, OLD.key_id)
    assert not ring.verifies("other", mac, OLD.key_id)
    assert not ring.verifies("body", mac, NEW.key_id)
    assert not ring.verifies("body", mac, "00000000")
    assert not ring.verifies("body", mac, None)
    assert not ring.verifies("body", None, OLD.key_id)
