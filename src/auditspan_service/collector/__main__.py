"""`python -m auditspan_service.collector`: a command that prints the path of the collector.

    build   build the binary, or use the existing build (`make collector`)
    get     use the first of OTELCOL_BIN, PATH and an existing build; else build the binary

Progress is written to standard error, the path to standard output. The exit code is 0 on success, 2
if no collector is available (the reason is on standard error), 130 or 143 on an interrupt.
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
    """Run the command and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m auditspan_service.collector")
    parser.add_argument("verb", choices=("build", "get"))
    verb = parser.parse_args(arguments).verb
    # Elsewhere only the service's config.py reads the environment. But make runs this before the
    # service is configured, and its invalid settings must not prevent a build.
    paths = CollectorPaths.from_environ(os.environ)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        binary = (find_binary(paths) if verb == "get" else None) or build(paths, _progress)
    except CollectorError as error:
        print(error, file=sys.stderr)  # noqa: T201  output of a command
        return _UNAVAILABLE
    except KeyboardInterrupt:
        print("Interrupted; the cache is unchanged.", file=sys.stderr)  # noqa: T201  as above
        return 128 + signal.SIGINT
    print(binary)  # noqa: T201  as above
    return 0


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  as above


def _interrupted(number: int, _frame: object) -> None:
    """Exit by an exception, so that the compiler is stopped and temporary files are removed."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
