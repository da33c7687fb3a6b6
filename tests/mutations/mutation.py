"""One way to break the code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One place of the code, broken.

    Attributes:
        name: what is broken, in words.
        path: the file below src/auditspan.
        before: text that occurs in it exactly once.
        after: what stands there instead.
        tests: files below tests; one of their tests must fail.
        only: a `-k` expression, where one case is enough to look at.
    """

    name: str
    path: str
    before: str
    after: str
    tests: str
    only: str = "sqlite"
