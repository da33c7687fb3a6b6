"""Errors of the collector.

CollectorError
├── CollectorUnavailableError    there is no binary, and none could be built
├── StepFailedError              a command of a build failed (becomes CollectorUnavailableError)
└── CollectorStartError          the binary does not run
"""

from __future__ import annotations


class CollectorError(Exception):
    """Error of the collector; the message explains what to do."""


class CollectorUnavailableError(CollectorError):
    """Error for a configured collector binary that does not exist, or a failed build."""


class CollectorStartError(CollectorError):
    """Error for a collector that did not start, or did not become healthy in time."""


class StepFailedError(CollectorError):
    """Error for a failed command of a build; the message ends with the command's last lines."""
