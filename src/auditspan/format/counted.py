"""Numbers with their nouns, as messages have them."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `1 row` or `2 rows`; the plural may be irregular."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
