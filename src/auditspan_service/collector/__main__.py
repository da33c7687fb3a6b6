"""`python -m auditspan_service.collector`: get the collector's binary and print its path.

    build   build it, or find the build that is there (`make collector`)
    get     the first there is of OTELCOL_BIN, PATH, a build; else build it

Progress goes to standard error, the path to standard output. Exit code 0, 2 when there is no
collector to be had (the reason is on standard error), 130 and 143 when it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

from auditspan_service.collector.binary import find_binary
from auditspan_service.collector.build import build
from auditspan_service.collector.errors import CollectorError
from auditspan_service.collector.paths import CollectorPaths

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNAVAILABLE = 2


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments ask for and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m auditspan_service.collector")
    parser.add_argument("verb", choices=("build", "get"))
    verb = parser.parse_args(arguments).verb
    # Elsewhere the environment is read in the service's config.py. Not here: make runs this before
    # there is a service to configure, and what may be wrong with its settings must not stop it.
    paths = CollectorPaths.from_environ(os.environ)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        binary = (find_binary(paths) if verb == "get" else None) or build(paths, _progress)
    except CollectorError as error:
        print(error, file=sys.stderr)  # noqa: T201  a command talks
        return _UNAVAILABLE
    except KeyboardInterrupt:
        print("Interrupted; nothing was put in the cache.", file=sys.stderr)  # noqa: T201  as above
        return 128 + signal.SIGINT
    print(binary)  # noqa: T201  as above
    return 0


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  as above


def _interrupted(number: int, _frame: object) -> None:
    """Unwind, so that the compiler is ended and the temporary directory removed."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
