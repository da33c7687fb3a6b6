"""A page as a person sees it, in a real browser without a window."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from html import unescape
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SCRIPTS = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_SECONDS = 300
_SETTLED_MILLIS = 20_000
"""The browser's own clock runs on to here, past every request that the page makes."""


def text_of(url: str) -> str:
    """The text of a page, when its scripts have drawn it."""
    drawn = _browse(url, "--dump-dom")
    return unescape(_TAG.sub(" ", _SCRIPTS.sub(" ", drawn)))


def take_picture(url: str, file: Path) -> None:
    """A picture of a page in a window of 1400 by 900."""
    _browse(url, f"--screenshot={file}")


def _browse(url: str, what: str) -> str:
    with tempfile.TemporaryDirectory(prefix="auditspan-browser-") as profile:
        command = [
            *(_browser(), "--headless=new", "--disable-gpu", "--hide-scrollbars"),
            "--no-sandbox",  # as root it does not start with one; the page is of this machine
            "--disable-dev-shm-usage",
            "--window-size=1400,900",
            f"--user-data-dir={profile}",
            f"--virtual-time-budget={_SETTLED_MILLIS}",
            *(what, url),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _browser() -> str:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, "a browser is needed: Chromium (`apt-get install chromium`) or Chrome"
    return found
