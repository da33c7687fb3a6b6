"""Databases that a process makes once, with files beside them, and copies for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ending import ENDING
from support.postgres import copied_database, new_template, url_of

Fill = Callable[[str, Path], None]
"""Fills an empty database, and a directory; leaves no connection behind."""


class Template:
    """A database of each kind; a copy takes a tenth of the time in which its rows are made."""

    def __init__(self, fill: Fill, *, file: str = "trail.db") -> None:
        self._fill = fill
        self._file = file
        self._made: dict[str, tuple[Path, str]] = {}

    @contextmanager
    def copied(self, kind: str, folder: Path) -> Iterator[str]:
        """The URL of a copy on `sqlite` or `postgresql`; the files are copied into `folder`."""
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        files, name = self._made[kind]
        shutil.copytree(files, folder, dirs_exist_ok=True)
        if kind == "sqlite":
            yield f"sqlite:///{folder / self._file}"
            return
        with copied_database(name) as url:
            yield url

    def _make(self, kind: str) -> tuple[Path, str]:
        files = Path(tempfile.mkdtemp(prefix="auditspan-template-"))
        ENDING.callback(shutil.rmtree, files, ignore_errors=True)
        if kind == "sqlite":
            self._fill(f"sqlite:///{files / self._file}", files)
            return files, ""
        name = new_template()
        self._fill(url_of(name), files)
        return files, name
