"""`auditspan trace --watch` shows a trace while it grows."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.running import AUDITSPAN, clean_environment

TRACE = "ab" * 16


def add_span(directory: Path, number: int) -> None:
    """Export one span of the trace."""
    span = {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "name": f"span {number}",
        "startTimeUnixNano": str(number * 1_000_000),
        "endTimeUnixNano": str(number * 1_000_000 + 5_000_000),
    }
    line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    with (directory / "traces.jsonl").open("a") as file:
        file.write(line + "\n")


@contextmanager
def watching(directory: Path, *options: str, output: int) -> Iterator[subprocess.Popen[str]]:
    """The command, until it is interrupted; it must then end with 0."""
    command: list[str | Path] = [
        AUDITSPAN,
        "trace",
        TRACE,
        "--watch",
        "--files",
        str(directory),
        *options,
    ]
    with subprocess.Popen(
        command,
        env={**clean_environment(), "COLUMNS": "200"},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == f"Waiting for trace {TRACE}.\n"
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            assert (0, "") == (process.wait(), process.stderr.read())
        finally:
            process.kill()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Collector files without the trace."""
    (tmp_path / "traces.jsonl").touch()
    return tmp_path


def test_piped_each_state_is_printed_once(directory: Path) -> None:
    """Below the one before, and Ctrl-C is no failure."""
    with watching(directory, output=subprocess.PIPE) as process:
        assert process.stdout is not None
        add_span(directory, 1)
        lines = [process.stdout.readline() for _ in range(2)]
        add_span(directory, 2)
        lines += [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.wait()
        assert "" == process.stdout.read()
    words = ["spans 1 ", "span 1 ", "spans 2 ", "span 1 ", "span 2 "]
    assert [True] * 5 == [word in line for word, line in zip(words, lines, strict=True)]


def test_as_json_each_state_is_one_line(directory: Path) -> None:
    """With all spans so far."""
    found: list[dict[str, Any]] = []
    with watching(directory, "--json", output=subprocess.PIPE) as process:
        assert process.stdout is not None
        for number in (1, 2):
            add_span(directory, number)
            found.append(json.loads(process.stdout.readline()))
    assert [1, 2] == [len(one["spans"]) for one in found]


def test_a_terminal_is_drawn_again(directory: Path) -> None:
    """The lines of the first state are erased before the second is drawn."""
    ours, theirs = pty.openpty()
    shown = ""
    with watching(directory, output=theirs):
        for number in (1, 2):
            add_span(directory, number)
            shown = _read_until(ours, f"span {number} ")
    os.close(ours)
    os.close(theirs)
    assert "\x1b[1A\x1b[2K" in shown


def _read_until(terminal: int, word: str) -> str:
    shown = ""
    while word not in shown:
        shown += os.read(terminal, 4096).decode()
    return shown
