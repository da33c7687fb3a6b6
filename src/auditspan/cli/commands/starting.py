"""Checks of the database before a command starts to serve or to work."""

from __future__ import annotations

import threading

from sqlalchemy.exc import OperationalError

from auditspan.cli.commands.console import say
from auditspan.cli.commands.stop_request import StopRequest
from auditspan.cli.commands.target import Target
from auditspan.delivery import Backoff
from auditspan.telemetry import without_values

_LASTING = ("authentication failed", "does not exist", "no pg_hba.conf", "not permitted to log in")
"""Messages of a server that is up and refuses this client."""


def await_ready(target: Target, stop: StopRequest | threading.Event) -> None:
    """Refuse a database that is not ready, but wait while PostgreSQL is starting or unreachable.

    Returns early when `stop` is set.

    Raises:
        AuditError: as `Target.require_ready`.
        DBAPIError: the database refuses this client, so waiting cannot help.
    """
    backoff, said = Backoff(first=0.5), ""
    while not stop.is_set():
        try:
            target.require_ready(_say)
        except OperationalError as error:
            if target.is_embedded or not _may_pass(error):
                raise
            reason = " ".join(without_values(error.orig or error).split())
            if reason != said:
                said = reason
                say(f"waiting for the database: {reason}", err=True)
        else:
            return
        stop.wait(backoff.next())


def _may_pass(error: OperationalError) -> bool:
    """Return whether waiting may help; libpq gives no SQLSTATE for a failed connection."""
    return not any(refusal in str(error.orig) for refusal in _LASTING)


def _say(text: str) -> None:
    say(text, err=True)
