"""A worker of Celery in a thread of the test, which leaves the process as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery, signals
from celery.contrib.testing.worker import start_worker


@contextmanager
def celery_worker(app: Celery) -> Iterator[None]:
    """Run the tasks of this application.

    Without a receiver of `setup_logging`, Celery sets the level of the root logger, and later tests
    would look in vain for what is logged.
    """
    signals.setup_logging.connect(_keep)
    try:
        with start_worker(app, perform_ping_check=False):
            yield
    finally:
        signals.setup_logging.disconnect(_keep)
        logging.captureWarnings(capture=False)


def _keep(**_options: object) -> None:
    """Leave logging as it is."""
