"""Options that several commands have, and the target that they choose."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

TARGET = "auditspan.target"
"""Key in click's `meta` of the function that makes the target of the commands."""


def set_target(context: click.Context, make: Callable[[], object]) -> None:
    """Set how the commands of this context make their target."""
    context.meta[TARGET] = make


def _use_data_dir(_context: click.Context, _option: click.Parameter, value: Path | None) -> None:
    if value is not None:
        os.environ["AUDITSPAN_DATA_DIR"] = str(value.expanduser().absolute())


data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_use_data_dir,
    expose_value=False,
    help="The data directory.  [default: AUDITSPAN_DATA_DIR, or .auditspan]",
)
"""Accepted by the group, for every command, and by commands that are also used alone."""


bind_option = click.option(
    "--bind",
    metavar="NAME",
    envvar="AUDITSPAN_BIND",
    help="The bind of Flask-SQLAlchemy whose database has the trail.  [default: the main one]",
)
