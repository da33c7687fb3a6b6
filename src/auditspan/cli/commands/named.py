"""Objects that a user names as `module:attribute`, as gunicorn and Flask do."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from auditspan.cli.commands.console import Failure
from auditspan.errors import AuditError


def load_named(app: str) -> object:
    """Import the object that `--app` names.

    Raises:
        Failure: there is no such module or attribute, or its import failed.
    """
    module_name, colon, path = app.partition(":")
    if not (module_name and colon and path):
        raise Failure(f"--app {app}: expected MODULE:ATTRIBUTE, such as shop:trail.")
    found: object = _imported(module_name)
    for name in path.split("."):
        if not hasattr(found, name):
            raise Failure(f"--app {app}: {module_name} has no {path}{_nearest(name, found)}")
        found = getattr(found, name)
    return found


def _imported(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` and `flask --app` do
    try:
        return import_module(name)
    except AuditError:
        raise
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise Failure(
                f"--app: module {name} was not found in this directory or on Python's path."
            ) from error
        raise Failure(f"--app: {name} needs {error.name}, which is not installed.") from error
    except Exception as error:
        raise Failure(
            f"--app: importing {name} failed with {type(error).__name__}: run "
            f'`python -c "import {name}"` to see why.'
        ) from error


def _nearest(name: str, found: object) -> str:
    near = difflib.get_close_matches(name, dir(found), n=1)
    return f"; did you mean {near[0]}?" if near else "."
