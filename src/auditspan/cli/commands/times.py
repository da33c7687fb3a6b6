"""Times and ages as options of commands."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

from auditspan.format import parse_time

_AGE = re.compile(r"([1-9][0-9]{0,5})d")


def as_time(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> datetime | None:
    """Read a time, in UTC where it has no zone."""
    try:
        return parse_time(value) if value is not None else None
    except ValueError:
        raise click.BadParameter("expected a date or time such as 2026-01-31T12:00:00Z.") from None


def as_age(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> timedelta | None:
    """Read a number of days."""
    if value is None:
        return None
    match = _AGE.fullmatch(value)
    if match is None:
        raise click.BadParameter("expected a number of days such as 400d.")
    return timedelta(days=int(match[1]))
