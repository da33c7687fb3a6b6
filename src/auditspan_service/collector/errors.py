"""What can go wrong with the collector.

CollectorError
├── CollectorUnavailableError    there is no binary and none could be made
├── StepFailedError              one command of a build failed (becomes CollectorUnavailableError)
└── CollectorStartError          there is a binary and it does not run
"""

from __future__ import annotations


class CollectorError(Exception):
    """Something about the collector failed; the message says what to do."""


class CollectorUnavailableError(CollectorError):
    """No collector binary was found where one was promised, or none could be built."""


class CollectorStartError(CollectorError):
    """The collector did not start, or did not become healthy in time."""


class StepFailedError(CollectorError):
    """A command of the build failed; the message ends with the last lines it wrote."""
