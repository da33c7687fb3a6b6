"""`python -m auditspan_service.cli`: the same as `auditspan`."""

from __future__ import annotations

from auditspan_service.cli import main

if __name__ == "__main__":
    main(prog_name="auditspan")
