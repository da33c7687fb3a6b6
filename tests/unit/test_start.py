"""Preparations of the program `auditspan` before its command runs."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, os
from auditspan_service.cli import main
main(["completion", "bash"], prog_name="auditspan", standalone_mode=False)
os.write(2, f"{gc.isenabled()} {gc.get_freeze_count() > 10_000}".encode())
"""


def test_program_collects_garbage_once_its_command_is_imported() -> None:
    """Imported objects are exempt; objects that the command makes are not."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert "True True" == done.stderr
