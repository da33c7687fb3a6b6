"""What must be so before a command starts to serve or to work."""

from __future__ import annotations

import click
from sqlalchemy import Engine

from auditspan_service.cli.opened import opened_engine, schema_state
from auditspan_service.config import Settings
from auditspan_service.datadir import close_data_dir
from auditspan_service.errors import SchemaError
from auditspan_service.guarding import require_guarded


def require_ready(settings: Settings) -> None:
    """Refuse a database without this release's schema, and one that does not guard the trail.

    Files of an embedded database that are open to others are closed before.

    Raises:
        SchemaError: the schema is another; `auditspan db upgrade` mends that.
        UnguardedError: it is not guarded, and the settings do not allow that.
    """
    close_data_dir(settings, say=_say)
    with opened_engine() as engine:
        require_current(engine)
        require_guarded(engine, settings, say=_say)


def require_current(engine: Engine) -> None:
    """Refuse a database without this release's schema.

    Raises:
        SchemaError: the schema is another; `auditspan db upgrade` mends that.
    """
    state = schema_state(engine)
    if not state.is_current:
        raise SchemaError(state.sentence())


def _say(text: str) -> None:
    click.echo(text, err=True)
