"""Break the capture code in one place after the other; each must make a test fail.

    PYTHONPATH=tests python -m mutations.run [--only WORDS] [--jobs N]

Prints a line for each, and exits with 1 when one of them went unnoticed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

from mutations.mutation import Mutation
from mutations.places import MUTATIONS
from mutations.trigger_places import TRIGGER_MUTATIONS
from support.cluster import Cluster
from support.memory import use_memory

ROOT = Path(__file__).parents[2]
SECONDS = 1800
"""For the tests of one mutation; a single one that hangs fails sooner."""


def broken_copy(mutation: Mutation, to: Path) -> None:
    """A copy of the library with this one place broken."""
    shutil.copytree(ROOT / "src", to)  # with its bytecode, which holds for the other files
    path = to / "auditspan" / mutation.path
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.before) != 1:
        raise SystemExit(f"{mutation.name}: its text occurs {text.count(mutation.before)} times")
    path.write_text(text.replace(mutation.before, mutation.after), encoding="utf-8")
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def survives(mutation: Mutation, database_url: str) -> bool:
    """Whether the tests pass although the code is broken."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "src")
        broken_copy(mutation, source)
        files = [f"tests/{name}" for name in mutation.tests.split()]
        options = ["-x", "-q", "-p", "no:cacheprovider", "--timeout=180"]
        command = [sys.executable, "-m", "pytest", *options, *files]
        done = subprocess.run(
            command + (["-k", mutation.only] if mutation.only else []),
            cwd=ROOT,
            env=os.environ
            | {"PYTHONPATH": str(source), "AUDITSPAN_TEST_DATABASE_URL": database_url},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    if done.returncode not in {0, 1}:  # 1: a test has failed; anything else: none was run
        raise SystemExit(f"{mutation.name}: pytest could not run\n{done.stdout.decode()[-2000:]}")
    return done.returncode == 0


def main() -> int:
    """Run the mutations; 0 when all of them were noticed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    options = parser.parse_args()
    use_memory()
    everything = [*MUTATIONS, *TRIGGER_MUTATIONS]
    chosen = [mutation for mutation in everything if options.only in mutation.name]
    unnoticed = 0
    with _server() as url, ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda mutation: survives(mutation, url), chosen)
        for mutation, survived in zip(chosen, results, strict=True):
            unnoticed += survived
            _say(f"{'UNNOTICED' if survived else 'noticed':<10} {mutation.name}")
    _say(f"{len(chosen) - unnoticed} of {len(chosen)} noticed")
    return 1 if unnoticed else 0


@contextmanager
def _server() -> Iterator[str]:
    """The URL of a PostgreSQL for all of them: starting one takes longer than most tests."""
    given = os.environ.get("AUDITSPAN_TEST_DATABASE_URL")
    if given:
        yield given
        return
    cluster = Cluster.make()
    try:
        yield cluster.url.render_as_string(hide_password=False)
    finally:
        cluster.destroy()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
