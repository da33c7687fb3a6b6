"""Check of the links: in the repository's Markdown, and in the built documentation site.

Exit code 1, and a line for each broken link:

    PYTHONPATH=tests python -m links.check [SITE]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from links.broken import Broken
from links.markdown import broken_in_markdown, documents
from links.site import broken_in_site

ROOT = Path(__file__).parents[2]


def main(arguments: list[str]) -> int:
    """Print what is broken; return the exit code."""
    found: Iterable[Broken] = [
        *broken_in_markdown(documents(ROOT)),
        *(one for site in arguments for one in broken_in_site(Path(site))),
    ]
    for broken in found:
        print(f"{broken.page}: {broken.link}: {broken.reason}")  # noqa: T201 (a program)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
