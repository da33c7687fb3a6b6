"""The actor by convention: the user of Flask-Login, or the `flask` command that runs."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import ScriptInfo

from auditspan.format import Actor
from auditspan.mapping import identity_of


def login_actor() -> Actor:
    """Return the user who is logged in with Flask-Login; anonymous if there is none.

    The id of a mapped user is its primary key, as in the records about that user; the id of any
    other user is the one that Flask-Login has. The label is its `username`, unless the model's
    policy hides that.
    """
    if not hasattr(current_app, "login_manager"):
        return Actor.anonymous()
    from flask_login import current_user

    if not current_user or not current_user.is_authenticated:
        return Actor.anonymous()
    identity = identity_of(current_user._get_current_object())  # noqa: SLF001 (of a proxy)
    label = None if "username" in identity.hidden else getattr(current_user, "username", None)
    return Actor.user(identity.id or current_user.get_id(), label=label and str(label))


def command_actor() -> Actor | None:
    """Return the `flask` command that runs, such as `users import`; None outside of one."""
    context = click.get_current_context(silent=True)
    if context is None or context.find_object(ScriptInfo) is None:
        return None
    program, _, command = context.command_path.partition(" ")
    return Actor.system(command or program)
