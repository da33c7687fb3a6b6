"""Virtual environments that contain the wheel and what it requires, and nothing of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.running import clean_environment

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Environment:
    """An environment whose programs run in an empty directory.

    Attributes:
        programs: its `bin`.
        directory: the working directory of its programs.
    """

    programs: Path
    directory: Path

    @classmethod
    def make(cls, folder: Path, wheel: Path, extras: str, *more: str) -> Environment:
        """Create the environment with the versions of the lock file."""
        constraints = folder / "constraints.txt"
        constraints.write_text(_uv("export", *_LOCKED))
        _uv("venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
        made = cls(programs=folder / "venv" / "bin", directory=folder / "work")
        made.directory.mkdir()
        wanted = [f"auditspan[{extras}] @ {wheel.as_uri()}", *more]
        where = ("--python", str(made.programs / "python"), "--constraints", str(constraints))
        _uv("pip", "install", "--quiet", *where, *wanted)
        return made

    def run(self, program: str, *arguments: str) -> str:
        """Run a program of the environment; its output, if it ends with 0."""
        done = self._ended(program, *arguments)
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout

    def end(self, program: str, *arguments: str) -> tuple[int, str]:
        """Run a program of the environment; its exit code and its standard error."""
        done = self._ended(program, *arguments)
        return done.returncode, done.stderr

    def _ended(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.directory,
            env=_environ(),
            capture_output=True,
            text=True,
            check=False,
        )

    def python(self, source: str, *arguments: str) -> str:
        """Run Python source in the environment; its output."""
        return self.run("python", "-c", source, *arguments)


_LOCKED = ("--quiet", "--frozen", "--all-extras", "--no-emit-project", "--no-hashes")


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout."""
    _uv("build", "--quiet", "--wheel", "--out-dir", str(folder))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _uv(*arguments: str) -> str:
    uv = os.environ.get("UV") or shutil.which("uv") or ROOT / ".uv" / "bin" / "uv"
    done = subprocess.run([uv, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def _environ() -> dict[str, str]:
    """Return the environment without anything that would lead to the checkout."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    return {name: value for name, value in clean_environment().items() if name not in hidden}
